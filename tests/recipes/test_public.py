"""The run on public data: how it lays files out and compares clusters."""

import csv
import gzip
import io
import json
import tarfile

import numpy as np
import pytest
from sklearn.metrics import v_measure_score

from es_ingest.readers import read_qrels
from medte_haystack.training.config_file import load_config
from recipes.public import clusters, data
from recipes.public.__main__ import ABLATION, CONFIGS
from recipes.public.data import EVALUATED, HELD_OUT, Files, labelled, lay_out


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_configurations_load_and_name_pairs_that_are_made(path):
    config = load_config(path)
    assert {name.removeprefix("pairs/").removesuffix(".jsonl.gz") for name in config.data.pairs} <= set(data.PAIRS)


@pytest.mark.parametrize("name", ABLATION)
def test_the_ablation_s_changes_are_keys(name):
    variant = ABLATION[name]
    changed = load_config(CONFIGS / f"{variant.config}.toml", variant.changes)
    assert bool(changed.data.negatives) == variant.mined


def test_what_is_evaluated_is_laid_apart(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "medquad.tar.gz", "w:gz") as archive:
        for folder in (*HELD_OUT, "2_GARD_QA"):
            member = tarfile.TarInfo(f"{folder}/1.xml")
            member.size = len(folder)
            archive.addfile(member, io.BytesIO(folder.encode()))
    with gzip.open(tmp_path / "test.csv.gz", "wt", newline="") as file:
        csv.writer(file).writerows([("condition_label", "medical_abstract"), ("3", 'A "quoted"\ntext'), ("1", "B")])
    (tmp_path / "scifact" / "qrels").mkdir(parents=True)
    (tmp_path / "scifact" / "corpus.jsonl").touch()
    for name in ("train", "test"):
        text = f"query-id\tcorpus-id\tscore\n{name}\td\t1\n"
        (tmp_path / "scifact" / "qrels" / f"{name}.tsv").write_text(text)
    (tmp_path / "ori_pqal.json").touch()
    rows = [{"id": str(n), "title": "t", "abstract": f"abstract {n}", "source": f"review {n % 2}"} for n in range(200)]
    screened = [row | {"included": False} if int(row["id"]) < 100 else row for row in rows]
    (tmp_path / "p.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in screened))
    asked = []
    monkeypatch.setattr(data, "call", lambda *words, place: asked.append(words) or "")
    names = ("medquad.tar.gz", "scifact", "p.jsonl", "ori_pqal.json", "test.csv.gz")
    files = Files(*(tmp_path / name for name in names))
    for _ in range(2):
        lay_out(files, tmp_path / "run")
    laid = tmp_path / "run" / "data"
    assert [path.name for path in (laid / "medquad").iterdir()] == ["2_GARD_QA"]
    held = {path.name: path.parent.name for path in laid.glob("held/*/*")}
    assert held == dict(HELD_OUT)
    judged = [list(read_qrels(laid / name, "test")) for name in ("scifact-dev", "scifact-test")]
    assert judged == [["train"], ["test"]]
    assert labelled(tmp_path / "run", "test") == (['A "quoted"\ntext', "B"], ["3", "1"])
    texts, labels = labelled(tmp_path / "run", "dev")
    trained = [json.loads(line)["abstract"] for line in (laid / "pubmed.jsonl").read_text().splitlines()]
    assert sorted([*texts, *trained]) == sorted(row["abstract"] for row in rows)
    assert 5 < len(texts) < 25
    assert set(labels) == {"review 0", "review 1"}
    assert [words[-1] for words in asked[: len(data.PAIRS)]] == list(data.PAIRS)
    assert (tmp_path / "ori_pqal.json").resolve() in asked[list(data.PAIRS).index("pubmedqa")]
    for name in EVALUATED[1:]:
        assert (tmp_path / "run" / name.removeprefix("beir:")).exists()

    (tmp_path / "ori_pqal.json").write_text("[]")
    with pytest.raises(SystemExit, match="was made of another pubmedqa; name another folder"):
        lay_out(files, tmp_path / "run")


def test_clusters_are_compared_by_v_measure():
    draw = np.random.default_rng(3)
    labels = draw.integers(5, size=400)
    runs = [np.where(draw.random(400) < share, labels, draw.integers(5, size=400)) for share in (0.3, 0.7)]
    worse, better = ({"v_measure": v_measure_score(labels, run), "clusters": [run.tolist()]} for run in runs)
    names = [str(label) for label in labels]
    found = clusters.compare(names, worse, better)
    assert found["low"] < found["difference"] < found["high"]
    assert found["p"] < 0.01
    assert clusters.compare(names, worse, worse)["p"] == 1.0


def test_clusters_are_kept_for_the_weights(tmp_path):
    texts = [f"{word} {number}" for word in ("asthma", "melanoma") for number in range(6)]
    found = clusters.cluster("minilm", texts, ["a"] * 6 + ["b"] * 6, 64, "fp32", tmp_path / "found.json")
    assert found["v_measure"] == 1.0
    assert len(found["clusters"]) == clusters.RUNS
    kept = json.loads((tmp_path / "found.json").read_text()) | {"v_measure": 0.5}
    (tmp_path / "found.json").write_text(json.dumps(kept))
    assert clusters.cluster("minilm", texts, ["a"] * 6 + ["b"] * 6, 64, "fp32", tmp_path / "found.json") == kept
    assert clusters.cluster("minilm", texts, ["a", "b"] * 6, 64, "fp32", tmp_path / "found.json")["v_measure"] < 0.5
