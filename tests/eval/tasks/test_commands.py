import json
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import Result
from haystack.dataclasses import ChatMessage
from typer.testing import CliRunner

from es_ingest.cluster import Connection
from medte_eval.cli import app
from medte_eval.tasks.benchmark import BENCHMARK
from tests.eval.tasks import conftest

ENVIRONMENT = {"COLUMNS": "300", "NO_COLOR": "1"}


def answer(messages: list[ChatMessage]) -> str:
    return conftest.answer(messages)


@pytest.fixture
def given(exports: Mapping[str, Path], tmp_path: Path) -> list[str]:
    """Options that build from exports into a folder of the test's."""
    options = ["--data-dir", str(tmp_path / "tasks"), "--mimic", str(exports["mimic"]), "--offline"]
    for name, path in exports.items():
        if name != "mimic":
            options += ["--export", f"{name}={path}"]
    return options


@pytest.fixture
def generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAYSTACK_DESERIALIZATION_ALLOWLIST", "tests.*")
    path = tmp_path / "generator.yaml"
    path.write_text(
        "type: haystack.components.generators.chat.mock.MockChatGenerator\n"
        f"init_parameters: {{response_fn: {__name__}.answer}}\n"
    )
    return path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], env=ENVIRONMENT)


def test_the_whole_benchmark_is_built_from_exports_and_listed(given: list[str], tmp_path: Path) -> None:
    cache = ["--cache", str(tmp_path / "cache")]

    names = ",".join(["MedTEB", *(task.name for task in BENCHMARK.values() if task.reserve)])
    done = invoke("build", "--tasks", names, *given, *cache, "--json", "--quiet")
    listed = invoke("tasks", *given, "--json")
    again = invoke("build", "--tasks", "MedTEB", *given, *cache, "--json", "--quiet")

    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    built = json.loads(done.stdout)["tasks"]
    assert [one["status"] for one in built] == ["built"] * len(BENCHMARK)
    assert [one["name"] for one in built] == [task.llm_free_name for task in BENCHMARK.values()]
    assert sum(bool(one["notice"]) for one in built) == 26
    assert {one["status"] for one in json.loads(again.stdout)["tasks"]} == {"already built"}
    found = json.loads(listed.stdout)
    assert found["counts"] == {"Classification": 15, "Clustering": 12, "PairClassification": 12, "Retrieval": 12}
    assert [one["built"][0]["sha256"] for one in found["tasks"]] == [one["sha256"] for one in built]


def test_a_language_model_takes_part_if_it_is_given(given: list[str], generator: Path, tmp_path: Path) -> None:
    asked = ["--generator", str(generator), "--cache", str(tmp_path / "cache"), "--json", "--quiet"]

    done = invoke("build", "--tasks", "MedQuADRetrieval,WikiDiseasesPair,MedQuADRetrieval.LLMFree", *given, *asked)
    capped = invoke("build", "--tasks", "PubMedPair", *given, *asked, "--max-calls", "1")

    assert [one["name"] for one in json.loads(done.stdout)["tasks"]] == [
        "MedQuADRetrieval",
        "WikiDiseasesPair",
        "MedQuADRetrieval.LLMFree",
    ]
    assert capped.exit_code == 7
    assert "PubMedPair cannot be built: language model: its 1 calls are spent" in capped.stderr


def test_what_cannot_be_built_is_told_and_the_others_go_on(exports: Mapping[str, Path], tmp_path: Path) -> None:
    options = ["--data-dir", str(tmp_path / "tasks"), "--cache", str(tmp_path / "cache"), "--offline"]
    options += ["--export", f"medqa={exports['medqa']}"]

    done = invoke("build", "--tasks", "MimicCancerTypesClustering,TrialsTitleOutcomesPair,MedQAPair", *options)

    assert done.exit_code == 3
    assert "error: MimicCancerTypesClustering cannot be built: MIMIC-IV: no folder is given" in done.stderr
    assert "error: TrialsTitleOutcomesPair cannot be built: ClinicalTrials.gov" in done.stderr
    assert done.stdout.splitlines()[:2] == [
        "MimicCancerTypesClustering: not built",
        "TrialsTitleOutcomesPair: not built",
    ]
    assert done.stdout.splitlines()[2].startswith("MedQAPair: built, test 32, data ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "Nothing"], "no task 'Nothing' can be built; `medte-eval tasks` lists"),
        (["--tasks", "SciFact"], "no task 'SciFact' can be built; `medte-eval tasks` lists"),
        (["--tasks", "medqapair"], "no task 'medqapair' can be built; do you mean MedQAPair?"),
        (["--tasks", "PubmedPairs.LLMfree"], "; do you mean PubMedPair.LLMFree?"),
        (["--tasks", "medteb"], "; do you mean MedTEB?"),
        (["--tasks", ","], "no task is named"),
        (["--tasks", "MedQAPair", "--export", "medqa"], "--export 'medqa' is not SOURCE=PATH"),
        (["--tasks", "MedQAPair", "--export", "mad=x"], "the sources are wikipedia, pmc"),
        (["--tasks", "MedQAPair", "--mimic", "a", "--export", "mimic=b"], "two exports of mimic are given"),
        (["--tasks", "MedQAPair", "--max-calls", "3"], "--max-calls is for --generator"),
        (["--tasks", "MedQAPair", "--max-rows", "1"], "'--max-rows'"),
    ],
)
def test_wrong_options_are_one_message(arguments: list[str], message: str) -> None:
    done = invoke("build", *arguments)

    assert done.exit_code == 2
    assert message in done.stderr


def test_a_generator_that_cannot_be_loaded_ends_it(tmp_path: Path) -> None:
    done = invoke("build", "--tasks", "MedQAPair", "--generator", str(tmp_path / "none.yaml"))

    assert done.exit_code == 7
    assert "none.yaml: cannot be read" in done.stderr


def test_tasks_tells_what_each_needs(tmp_path: Path) -> None:
    options = ["--data-dir", str(tmp_path)]
    offline = invoke("tasks", *options, "--offline", "--mimic", str(tmp_path), "--json")
    plain = invoke("tasks", *options)

    states = {line.split()[0]: line for line in plain.stdout.splitlines() if line}
    assert "needs --mimic FOLDER" in states["MimicCancerTypesClustering"]
    assert "can be built" in states["WikiPainVsFeverClassification"]
    assert "can be built, without --generator as PubMedPair.LLMFree" in states["PubMedPair"]
    assert "reserve, off unless named" in states["TrialsTitleDescriptionRetrieval"]
    assert "beir:FOLDER" in plain.stdout
    assert "15 Classification, 12 Clustering, 12 PairClassification, 12 Retrieval" in plain.stdout
    rows = {row["name"]: row for row in json.loads(offline.stdout)["tasks"]}
    assert Counter(row["buildable"] for row in rows.values()) == {True: 26, None: 26}
    assert rows["PubMedPair"]["needs"][0] == "what was fetched before, or --export pubmed=PATH: PubMed XML"
    assert rows["MimicCancerTypesClustering"]["how"] == (
        "medte-eval build --tasks MimicCancerTypesClustering --mimic FOLDER"
    )
    assert rows["PubMedPair"]["language_model"]
    assert rows["TrialsTitleDescriptionRetrieval"]["number"] is None


def test_what_was_built_of_a_changed_export_is_said_to_be_stale(exports: Mapping[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "medqa"
    shutil.copytree(exports["medqa"], folder)
    options = ["--data-dir", str(tmp_path / "tasks"), "--export", f"medqa={folder}", "--offline"]
    build = ["build", "--tasks", "MedQAPair", *options, "--cache", str(tmp_path / "cache"), "--quiet"]

    def listed() -> tuple[str, bool]:
        states = {line.split()[0]: line for line in invoke("tasks", *options).stdout.splitlines() if line}
        found = json.loads(invoke("tasks", *options, "--json").stdout)["tasks"]
        return states["MedQAPair"], next(row["built"][0]["stale"] for row in found if row["name"] == "MedQAPair")

    first, fresh = invoke(*build), listed()
    (folder / "train.jsonl").write_text((folder / "train.jsonl").read_text().replace("Wait", "Weep"))
    stale = listed()
    again, mended = invoke(*build), listed()
    shutil.rmtree(folder)
    gone = invoke(*build)

    assert listed() == (mended[0], False)  # which it was when it was built
    assert (first.stderr, again.exit_code) == ("", 0)
    assert "MedQAPair is stale, its export changed; it is built anew" in again.stderr
    assert (fresh[0].endswith("built"), fresh[1]) == (mended[0].endswith("built"), mended[1]) == (True, False)
    assert (stale[0].endswith("built, stale since its export changed"), stale[1]) == (True, True)
    assert gone.exit_code == 7
    assert f"{folder} does not exist; check the path of the export" in gone.stderr.replace("medqa: does", "medqa does")


@pytest.mark.parametrize("source", ["mimic", "wikipedia"])
def test_an_export_that_is_not_there_builds_nothing(source: str, tmp_path: Path) -> None:
    options = ["--data-dir", str(tmp_path), "--export", f"{source}={tmp_path / 'gone'}"]

    listed = json.loads(invoke("tasks", *options, "--json").stdout)["tasks"]
    plain = invoke("tasks", *options).stdout

    rows = [row for row in listed if BENCHMARK[row["name"]].source == source]
    assert {row["buildable"] for row in rows} == {False}
    assert all(row["needs"][0].endswith(f"; {tmp_path / 'gone'} does not exist") for row in rows)
    assert plain.count(f": {tmp_path / 'gone'} does not exist") == len(rows)


def test_a_damaged_task_is_listed_as_such(tmp_path: Path) -> None:
    (tmp_path / "MedQAPair").mkdir()
    (tmp_path / "MedQAPair" / "manifest.json").write_text("{")

    done = invoke("tasks", "--data-dir", str(tmp_path))

    assert any(line.startswith("MedQAPair ") and line.endswith("damaged") for line in done.stdout.splitlines())


def test_push_and_pull(given: list[str], tmp_path: Path) -> None:
    here, there, shared = str(tmp_path / "tasks"), str(tmp_path / "other"), str(tmp_path / "shared")
    invoke("build", "--tasks", "MedQAPair", *given, "--cache", str(tmp_path / "cache"))

    pushed = invoke("push", "--tasks", "MedTEB", "--to", shared, "--data-dir", here, "--json")
    pulled = invoke("pull", "--tasks", "MedQAPair", "--from", shared, "--data-dir", there)
    missing = invoke("pull", "--tasks", "MedMCQAPair", "--from", shared, "--data-dir", there)

    assert json.loads(pushed.stdout) == {"tasks": {"MedQAPair": f"{shared}/MedQAPair"}}
    assert pulled.stdout == f"MedQAPair: {there}/MedQAPair\n"
    assert missing.exit_code == 7
    assert "MedMCQAPair: is no built task" in missing.stderr


def test_notes_are_not_tuned_on_elsewhere(given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(one.name for one in BENCHMARK.values() if one.source == "mimic" and one.kind == "Retrieval")
    assert invoke("build", "--tasks", name, *given, "--cache", str(tmp_path / "cache")).exit_code == 0
    away = Connection("https://search.example:9200", "url")
    monkeypatch.setattr("medte_eval.session.open_cluster", lambda _: nullcontext(away))

    asked = ["tune", "--task", name, "--data-dir", str(tmp_path / "tasks"), "--out", str(tmp_path / "weights.json")]
    done = invoke(*asked)

    assert done.exit_code == 2
    assert f"{name} is of clinical notes" in done.stderr
    assert "--notes-may-leave" in done.stderr


def test_what_is_missing_of_the_benchmark_fails(given: list[str], tmp_path: Path) -> None:
    assert invoke("build", "--tasks", "MedQAPair", *given, "--cache", str(tmp_path / "cache")).exit_code == 0

    asked = ["run", "--tasks", "MedTEB", "--data-dir", str(tmp_path / "tasks"), "--model", "minilm", "--json"]
    done = invoke(*asked, "--out", str(tmp_path / "out"))

    found = json.loads(done.stdout)
    assert done.exit_code == 3
    assert [one["task"]["name"] for one in found["results"]] == ["MedQAPair"]
    assert len(found["failures"]) == 50
    assert {one["exit_status"] for one in found["failures"]} == {7}
    assert len(list((tmp_path / "out").glob("*.failed.json"))) == 50
