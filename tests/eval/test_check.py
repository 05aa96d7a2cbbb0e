"""`medte-eval check`: what a file of checks may say, and what its command says of the scores."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from elasticsearch import Elasticsearch
from typer.testing import CliRunner

from es_ingest.cluster import Connection
from medte_eval.checks import Check, CheckFileError, Verdict, read_checks
from medte_eval.cli import app
from medte_eval.systems.encoder import EncoderSystem

Start = Callable[..., Result]

WHOLE: dict[str, Any] = {
    "name": "a",
    "command": "medte-eval run --tasks MedQuADRetrieval",
    "expected": {"task": "MedQuADRetrieval", "metric": "ndcg_at_10", "value": 0.645},
    "tolerance": 0.002,
}


def changed(**keys: Any) -> dict[str, Any]:
    """A whole check with other values, those of `expected` among them; None takes a key away."""
    of_expected = {key: keys.pop(key) for key in ("task", "system", "metric", "value") if key in keys}
    found = {**WHOLE, **keys, "expected": {**WHOLE["expected"], **of_expected}}
    if "expected" in keys:
        found["expected"] = keys["expected"]
    else:
        found["expected"] = {key: value for key, value in found["expected"].items() if value is not None}
    return {key: value for key, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (0.645, Verdict.OK),
        (0.643, Verdict.OK),
        (0.647, Verdict.OK),
        (0.6471, Verdict.OKISH),
        (0.642, Verdict.OKISH),
        (0.648, Verdict.OKISH),
        (0.6481, Verdict.FAIL),
        (0.6419, Verdict.FAIL),
    ],
)
def test_a_score_is_ok_within_the_tolerance_and_okish_within_one_and_a_half(measured: float, verdict: Verdict) -> None:
    assert Check.model_validate(WHOLE).judge(measured) is verdict


def test_what_is_okish_can_be_said() -> None:
    wide = Check.model_validate(changed(okish=0.01))
    exact = Check.model_validate(changed(tolerance=0))

    assert [wide.judge(one) for one in (0.635, 0.6349)] == [Verdict.OKISH, Verdict.FAIL]
    assert [exact.judge(one) for one in (0.645, 0.64501)] == [Verdict.OK, Verdict.FAIL]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file: is no mapping; its keys are checks"),
        ("checks: []", "checks: is empty"),
        ("checks: 3", "checks: Input should be a valid list, not 3"),
        ("tests: []", "tests: is no key; the keys are checks"),
        ("checks: [", "is no YAML: while parsing"),
        ("checks: []\nchecks: []", "is no YAML: key 'checks' comes twice"),
        ("checks: 2026-13-45", "is no YAML: month must be in 1..12"),
        ("[" * 5000, "is no YAML"),
        ("&a {checks: [*a]}", "check 1: name: is missing"),
        (b"\xff", "cannot be read: no UTF-8"),
        ([3], "check 1: is no mapping; its keys are name, command, expected, tolerance, okish"),
        ([changed(tol=1)], "check 1 ('a'): tol: is no key; the keys are name, command, expected, tolerance, okish"),
        ([WHOLE, changed(name=None)], "check 2: name: is missing"),
        ([changed(name=" ")], "check 1 (' '): name: String should have at least 1 character"),
        ([changed(command=None)], "command: is missing"),
        ([changed(tolerance=None)], "tolerance: is missing"),
        ([changed(tolerance=-0.1)], "tolerance: Input should be greater than or equal to 0, not -0.1"),
        ([changed(tolerance="1e-3")], "tolerance: Input should be a valid number, not '1e-3'"),
        ([changed(tolerance=float("inf"))], "tolerance: Input should be a finite number, not inf"),
        ([changed(tolerance=0.5)], "no score from 0 to 1 is more than 0.75 off 0.645"),
        ([changed(okish=0.001)], "okish 0.001 is less than tolerance 0.002"),
        ([changed(expected=0.645)], "expected: is no mapping; its keys are task, system, metric, value"),
        ([changed(value=None)], "expected.value: is missing"),
        ([changed(value=True)], "expected.value: Input should be a valid number, not True"),
        ([changed(value=float("nan"))], "expected.value: Input should be a finite number, not nan"),
        ([changed(task=None)], "expected.task: is missing"),
        ([changed(metric=None)], "expected.metric: is missing"),
        ([changed(metrics="f1")], "metrics: is no key"),
        ([WHOLE, WHOLE], "checks: two checks are called 'a'"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(text: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "checks.yaml"
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        path.write_text(text if isinstance(text, str) else yaml.safe_dump({"checks": text}))

    with pytest.raises(CheckFileError) as caught:
        read_checks(path)

    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.fixture
def check(connection: Connection, tmp_path: Path) -> Start:
    """Writes checks into a file and runs them."""

    def start(checks: list[dict[str, Any]], *options: str) -> Result:
        path = tmp_path / "checks.yaml"
        path.write_text(yaml.safe_dump({"checks": checks}))
        arguments = ["check", str(path), "--es", connection.url, *options]
        return CliRunner().invoke(app, arguments, env={"COLUMNS": "300", "NO_COLOR": "1"})

    return start


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"command": "medte-eval run --tasks Nothing"}, "command: unknown task 'Nothing'"),
        ({"command": "medte-eval run --tasks MedQuADRetrieval --system magic"}, "command: unknown system 'magic'"),
        ({"command": "medte-eval run --tasks MedQuADRetrieval --modell x"}, "command: No such option: --modell"),
        ({"command": "medte-eval run --tasks MedQuADRetrieval --top-k ten"}, "Invalid value for '--top-k': "),
        ({"command": "medte-eval run --tasks MedQuADRetrieval --weights x"}, "command: weights 'x' are neither"),
        ({"command": "medte-eval run"}, "command: Missing option '--tasks'"),
        ({"command": "medte-eval tasks"}, "command: does not begin with `medte-eval run`"),
        ({"command": "medte-eval run --tasks 'x"}, "command: cannot be split into words: No closing quotation"),
        ({"command": "medte-eval run --tasks x --out=y"}, "--out=y does not belong into the line of a check"),
        ({"task": "SciFact"}, "expected.task: 'SciFact' is none of the command's: MedQuADRetrieval"),
        ({"metric": "f1"}, "expected.metric: 'f1' is no score of MedQuADRetrieval; they are ndcg_at_10, recall_at_10"),
        ({"system": "dense"}, "expected.system: 'dense' is none of the command's: encoder"),
        (
            {"command": "medte-eval run --tasks MedQuADRetrieval --system dense,bm25"},
            "expected.system: is missing; the command's are dense, bm25",
        ),
    ],
)
def test_what_cannot_be_run_is_told_before_anything_is(check: Start, wrong: dict[str, Any], message: str) -> None:
    done = check([changed(name="good"), changed(**wrong)])

    assert done.exit_code == 2
    assert "check 'a': " in done.stderr
    assert message in " ".join(done.stderr.split())
    assert "'good'" not in done.stderr
    assert done.stdout == ""


def of(beir: Path, metric: str, system: str, value: float, tolerance: float = 0.002) -> dict[str, Any]:
    expected = {"task": f"beir:{beir}", "system": system, "metric": metric, "value": value}
    line = f"medte-eval run --tasks beir:{beir} --system encoder,dense \\\n --model minilm --latency-queries 0"
    return {"name": f"{system} {metric}", "command": line, "expected": expected, "tolerance": tolerance}


def test_a_changed_number_fails(check: Start, client: Elasticsearch, beir: Path, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out"), "--json", "--quiet"]
    asked = [of(beir, metric, system, 0.5) for system in ("encoder", "dense") for metric in ("ndcg_at_10", "mrr_at_10")]

    first = check(asked, *out)
    measured = [one["measured"] for one in json.loads(first.stdout)["checks"]]
    for one, value in zip(asked, measured, strict=True):
        one["expected"]["value"] = value
    right = check(asked, *out)
    asked[0]["expected"]["value"] += 0.003
    asked[3]["expected"]["value"] -= 0.0031
    wrong = check(asked, *out)
    with (beir / "corpus.jsonl").open("a") as corpus:  # a change of what is measured, not of what is expected
        corpus.writelines(f'\n{{"_id": "n{at}", "title": "", "text": "How to treat {one}"}}' for at, one in CLOSER)
    other = check(asked[1:2], *out)

    assert first.exit_code == 10
    assert right.exit_code == 0
    assert json.loads(right.stdout)["counts"] == {"OK": 4}
    assert [one["reused"] for one in json.loads(right.stdout)["checks"]] == [True] * 4
    assert wrong.exit_code == 10
    found = json.loads(wrong.stdout)["checks"]
    assert [one["status"] for one in found] == ["OKish", "OK", "OK", "FAIL"]
    assert [one["difference"] for one in found] == pytest.approx([-0.003, 0, 0, 0.0031])
    assert found[0] == {**found[0], "task": f"beir:{beir}", "system": "encoder", "metric": "ndcg_at_10", "okish": 0.003}
    assert other.exit_code == 10
    (found,) = json.loads(other.stdout)["checks"]
    assert (found["status"], found["reused"]) == ("FAIL", False)


CLOSER = list(enumerate(("gout", "asthma", "psoriasis", "migraine", "glaucoma")))


def test_people_read_a_table(check: Start, beir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"scores": {"mrr_at_10": 0.75}, "reused": False}
    monkeypatch.setattr("medte_eval.checking.run_all", lambda *_, **__: [found, found])

    done = check([of(beir, "mrr_at_10", "dense", 0.7525), of(beir, "ndcg_at_10", "dense", 0.5)])

    assert done.exit_code == 10
    assert done.stdout.splitlines() == [
        "       check             score    expected  measured  difference  tolerance",
        "OKish  dense mrr_at_10   MRR@10     0.7525    0.7500     -0.0025      0.002",
        "FAIL   dense ndcg_at_10  nDCG@10    0.5000         -           -      0.002",
        "dense ndcg_at_10: its result has only mrr_at_10",
    ]
    assert "dense mrr_at_10: OKish\ndense ndcg_at_10: FAIL\n" in done.stderr


def test_what_could_not_be_run_is_told_and_the_others_go_on(check: Start, beir: Path) -> None:
    gone = {**of(beir.parent / "nothing", "ndcg_at_10", "encoder", 0.5), "name": "gone"}
    unknown = {**of(beir, "ndcg_at_10", "encoder", 0.5), "name": "unknown"}
    unknown["command"] = unknown["command"].replace("minilm", "./no-such-model")
    good = of(beir, "recall_at_10", "encoder", 0.8, 0.3)

    some = check([gone, unknown, good], "--json", "--quiet")
    none = check([gone])
    failing = check([gone, {**good, "expected": {**good["expected"], "value": 0.01}, "tolerance": 0.01}])

    found = json.loads(some.stdout)
    assert some.exit_code == 3
    assert found["counts"] == {"not run": 2, "OK": 1}
    assert [one["measured"] is None for one in found["checks"]] == [True, True, False]
    assert "nothing: is no folder" in found["checks"][0]["message"]
    assert "no-such-model" in found["checks"][1]["message"]
    assert none.exit_code == 7
    assert "gone: " in none.stdout
    assert failing.exit_code == 10


def test_a_bug_is_a_bug(check: Start, beir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("text of a document")

    monkeypatch.setattr(EncoderSystem, "encode", fail)
    done = check([of(beir, "ndcg_at_10", "encoder", 0.5)])

    assert isinstance(done.exception, RuntimeError)
    assert done.stdout.splitlines()[-1] == "encoder ndcg_at_10: RuntimeError"
