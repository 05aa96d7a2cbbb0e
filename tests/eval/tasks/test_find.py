import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData

from es_ingest.records import ReadError
from medte_eval.tasks import UnknownTaskError, find_tasks, not_built, task_names
from medte_eval.tasks.benchmark import BENCHMARK
from medte_eval.tasks.medquad import MedQuADRetrieval
from tests.eval.tasks.conftest import Make

MEDICAL = "MTEB(Medical, v1)"


def made(*names: str, **options: Any) -> list[Any]:
    return [row.make(its) for row, its in find_tasks(names, **options)]


def test_names_are_split_at_commas_outside_brackets() -> None:
    assert task_names(f" MedQAPair,{MEDICAL}, beir:a b ,") == ["MedQAPair", MEDICAL, "beir:a b"]


def test_a_built_task_is_found_by_its_name(builder: Make, tmp_path: Path) -> None:
    builder().build(BENCHMARK["TrialsTitleOutcomesRetrieval"])

    (task,) = made("TrialsTitleOutcomesRetrieval", data_dir=tmp_path / "tasks", queries=3, top_k=10)
    task.load_data()

    assert (len(task.data["queries"]), task.sampled, task._top_k) == (3, 3, 10)


def test_the_folder_of_built_tasks_can_stand_in_the_environment(
    builder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder().build(BENCHMARK["MedQAPair"])
    monkeypatch.setenv("MEDTE_EVAL_DATA", str(tmp_path / "tasks"))

    assert [task.metadata.name for task in made("MedQAPair")] == ["MedQAPair"]


def test_the_variant_without_a_model_stands_in_and_is_told(
    builder: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medte_eval.tasks.logger", logging.getLogger("found"))
    builder().build(BENCHMARK["PubMedPair"])

    (task,) = made("PubMedPair", data_dir=tmp_path / "tasks")

    assert task.metadata.name == "PubMedPair.LLMFree"
    assert "PubMedPair is not built; PubMedPair.LLMFree is, and is taken" in caplog.text


def test_the_whole_benchmark_is_what_is_built_of_it(builder: Make, tmp_path: Path) -> None:
    for name in ("MedQAPair", "WikiPainVsFeverClassification", "TrialsTitleDescriptionRetrieval"):
        builder().build(BENCHMARK[name])

    found = made("MedTEB", "MedQAPair", data_dir=tmp_path / "tasks")

    assert [task.metadata.name for task in found] == ["WikiPainVsFeverClassification", "MedQAPair"]  # no reserve
    missing = not_built(tmp_path / "tasks")
    assert len(missing) == 49
    assert str(missing[0]).startswith("WikiSyndromesClassification: is not built in ")


def test_what_is_not_built_is_told_with_the_command_that_builds_it(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"MedQAPair: is not built in .*: medte-eval build --tasks MedQAPair"):
        made("MedQAPair", data_dir=tmp_path)
    with pytest.raises(ReadError, match=r"PubMedPair\.LLMFree: is not built"):
        made("PubMedPair.LLMFree", data_dir=tmp_path)
    with pytest.raises(ReadError, match="holds no built task"):
        made("MedTEB", data_dir=tmp_path)


def test_medquad_needs_no_building(builder: Make, medquad: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "tasks"
    (sample,) = made("MedQuADRetrieval", data_dir=data_dir)
    assert isinstance(sample, MedQuADRetrieval)
    assert sample.metadata.name == "MedQuADRetrieval.LLMFree"

    builder().build(BENCHMARK["MedQuADRetrieval"])

    assert made("MedQuADRetrieval.LLMFree", data_dir=data_dir)[0].manifest.number == 49
    (given,) = made("MedQuADRetrieval", data=medquad, data_dir=data_dir)
    assert given.source == medquad  # --data wins
    assert (sample.reduced, given.reduced) == (True, False)


def test_names_that_are_wrong_are_told() -> None:
    with pytest.raises(UnknownTaskError, match=r"unknown task 'MedQAPairs'; do you mean MedQAPair\?"):
        find_tasks(["MedQAPairs"])
    with pytest.raises(UnknownTaskError, match=r"'MedQAPair\.LLMFree'; do you mean MedQAPair\?"):
        find_tasks(["MedQAPair.LLMFree"])
    with pytest.raises(UnknownTaskError, match="write beir:FOLDER"):
        find_tasks(["beir"])
    with pytest.raises(UnknownTaskError, match="no task is named"):
        find_tasks([])
    with pytest.raises(UnknownTaskError, match="leave --data out"):
        find_tasks(["beir:x", "MedQAPair"], data=Path("y"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("medqapair", "MedQAPair"),
        ("wikipainvsfeverclasification", "WikiPainVsFeverClassification"),
        ("MEDTEB", "MedTEB"),
        ("pubmedpair.llmfree", "PubMedPair.LLMFree"),
        ("scifact", "SciFact"),
        ("NFCorpos", "NFCorpus"),
        ("mteb(medical,v1)", MEDICAL),
        ("beir-folder", "beir:FOLDER"),
    ],
)
def test_a_misspelt_name_is_taken_for_the_nearest(name: str, meant: str) -> None:
    told = f"unknown task '{name}'; do you mean {meant}? `"
    with pytest.raises(UnknownTaskError, match=re.escape(told)):
        find_tasks([name])


@pytest.mark.parametrize("name", ["Nothing", "x", "Treatments"])
def test_a_name_like_no_other_is_taken_for_none(name: str) -> None:
    with pytest.raises(UnknownTaskError, match=f"unknown task '{name}'; `medte-eval tasks` lists them"):
        find_tasks([name])


def test_mtebs_own_go_by_their_names() -> None:
    rows = [row for row, _ in find_tasks([MEDICAL, "SciFact"])]

    assert [row.name for row in rows][:2] == ["CUREv1", "NFCorpus"]
    assert len(rows) == len({row.name for row in rows}) == 12
    (scifact, _), *_ = find_tasks(["SciFact"], top_k=10)
    task = scifact.make(find_tasks(["SciFact"], top_k=10)[0][1])
    assert isinstance(task, AbsTaskRetrieval)
    assert (task.metadata.name, task.k_values, task._top_k) == ("SciFact", (1, 3, 5, 10), 10)
    with pytest.raises(UnknownTaskError, match="leave --queries out"):
        find_tasks(["SciFact"], queries=5)


@pytest.mark.parametrize(
    ("name", "top_k", "k_values"),
    [
        ("CMedQAv2-reranking", 100, (1, 3, 5, 10, 20, 100, 1000)),  # map_at_1000
        ("SciFact", 10, (1, 3, 5, 10)),
    ],
)
def test_the_depth_of_the_main_score_is_reached(name: str, top_k: int, k_values: tuple[int, ...]) -> None:
    (task,) = made(name, top_k=top_k)

    assert (task.k_values, task._top_k) == (k_values, max(k_values))


def test_subsets_and_splits_are_those_of_the_benchmark() -> None:
    name = "MassiveIntentClassification"
    (asked,) = (row.make(its) for row, its in find_tasks(["MTEB(eng, v2)"]) if row.name == name)
    (whole,) = made(name)

    assert (list(asked.hf_subsets), list(asked.eval_splits)) == (["en"], ["test"])
    assert len(whole.hf_subsets) > 50
    assert list(whole.eval_splits) == ["validation", "test"]
    with pytest.raises(UnknownTaskError, match=f"{name} is named twice, with other subsets or splits"):
        find_tasks(["MTEB(eng, v2)", name])
    assert len(find_tasks(["SciFact", MEDICAL])) == 12  # the same parts of SciFact


def test_mtebs_data_that_cannot_be_had_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host\nmore")

    (task,) = made("SciFact")
    monkeypatch.setattr("mteb.abstasks.retrieval.RetrievalDatasetLoader", away)

    with pytest.raises(ReadError, match="SciFact: its data mteb/scifact is not to be had from the hub: no route to h"):
        task.load_data()


def test_mtebs_data_is_loaded_by_mteb(monkeypatch: pytest.MonkeyPatch) -> None:
    data = RetrievalSplitData(
        corpus=Dataset.from_dict({"id": ["d"], "title": [""], "text": ["x"]}),
        queries=Dataset.from_dict({"id": ["q"], "text": ["x"]}),
        relevant_docs={"q": {"d": 1}},
        top_ranked=None,
    )
    loader = SimpleNamespace(load=lambda **_: data)
    monkeypatch.setattr("mteb.abstasks.retrieval.RetrievalDatasetLoader", lambda **_: loader)
    (task,) = made("SciFact")

    task.load_data()

    assert task.dataset["default"]["test"]["relevant_docs"] == {"q": {"d": 1}}
    assert (task.left_out, task.sampled) == (0, None)
    assert len(task.metadata.dataset["revision"]) == 40
