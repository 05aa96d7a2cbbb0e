import datetime
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mteb
import pytest
from mteb.abstasks import (
    AbsTaskClassification,
    AbsTaskClusteringLegacy,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
)

from es_ingest.records import ReadError
from medte_eval.systems.encoder import EncoderSystem
from medte_eval.tasks.benchmark import BENCHMARK
from medte_eval.tasks.building.build import Built
from medte_eval.tasks.building.folder import find_built, read_built
from medte_eval.tasks.building.manifest import read_manifest
from medte_eval.tasks.building.opening import Opener, Sources
from medte_eval.tasks.building.rephrase import Rephraser
from medte_eval.tasks.built import open_built
from medte_haystack.encoder import Encoder
from tests.eval.tasks.conftest import Given, Make

CLASSES = {
    "Classification": AbsTaskClassification,
    "Clustering": AbsTaskClusteringLegacy,
    "PairClassification": AbsTaskPairClassification,
    "Retrieval": AbsTaskRetrieval,
}
LLM_FREE = [(name, True) for name, task in BENCHMARK.items() if task.uses_llm]


@pytest.mark.parametrize(("name", "llm_free"), [(name, False) for name in BENCHMARK] + LLM_FREE)
def test_every_task_is_built_and_evaluated(
    name: str, llm_free: bool, builder: Make, rephraser: Rephraser, encoder: Encoder
) -> None:
    row = replace(BENCHMARK[name], cap=60)

    built = builder(rephraser=rephraser).build(row, llm_free=llm_free)
    task = open_built(built.folder)
    done = mteb.evaluate(
        EncoderSystem(encoder),
        task,
        cache=None,
        co2_tracker=False,
        raise_error=True,
        encode_kwargs={"batch_size": 256},
        show_progress_bar=False,
    )

    assert isinstance(task, CLASSES[row.kind])
    (result,) = done.task_results
    (scores,) = result.scores["test"]
    assert scores["main_score"] == scores[row.main_score]
    assert 0 < scores["main_score"] <= 1
    assert result.task_name == (row.llm_free_name if llm_free else name)
    assert result.dataset_revision == built.manifest.sha256
    assert bool(rephraser.calls) == (row.uses_llm and not llm_free)
    assert task.metadata.is_filled()
    assert task.metadata.is_public == (row.source != "mimic")
    assert set(built.manifest.labels) == set(row.labels)


@pytest.mark.parametrize(
    "name",
    [
        "WikiSyndromesClassification",
        "PmcImagingTypesClustering",
        "MimicReadmission30DaysClassification",
        "MimicComplaintDiagnosisPair",
        "MedMCQAPair",
        "TrialsTitleOutcomesPair",
        "BioRxivRetrieval",
    ],
)
def test_the_order_of_the_source_changes_nothing(name: str, builder: Make, turned: Opener) -> None:
    task = replace(BENCHMARK[name], cap=6 if name == "BioRxivRetrieval" else 20)

    first = builder().build(task)
    tables = read_built(first.folder)[0]
    again = builder(turned).build(task, again=True)
    same = read_built(again.folder)[0] == tables
    other = builder(seed=43).build(task)

    assert again.fresh
    assert same
    assert again.manifest.sha256 == first.manifest.sha256 != other.manifest.sha256


@pytest.mark.parametrize("name", ["WikiDiseaseBySystemClustering", "MedQAPair", "TrialsTitleOutcomesPair"])
def test_no_more_rows_are_kept_than_the_cap(name: str, builder: Make) -> None:
    whole = builder().build(BENCHMARK[name])
    task = replace(BENCHMARK[name], cap=7)

    capped = builder().build(task, again=True)

    assert sum(whole.manifest.rows.values()) > 7
    assert sum(capped.manifest.rows.values()) == capped.manifest.cap == 7
    assert capped.manifest.recipe["max_rows"] is None
    assert not open_built(capped.folder).reduced


def test_fewer_rows_can_be_asked_for(builder: Make) -> None:
    built = builder(max_rows=5).build(BENCHMARK["TrialsTitleOutcomesRetrieval"])

    assert built.manifest.rows == {"corpus": 4, "queries": 4, "qrels": 4}  # one of the 5 studies has no title
    assert "at most 5 rows are kept, and items asked for, instead of 16,384" in built.manifest.differences
    assert open_built(built.folder).reduced
    assert built.manifest.dropped == {"studies without officialTitle or primaryOutcomes": 1}


def test_a_split_has_seven_of_ten_texts_to_learn_from(builder: Make) -> None:
    task = open_built(builder().build(BENCHMARK["WikiPainVsFeverClassification"]).folder)
    task.load_data()

    train, test = task.loaded["train"], task.loaded["test"]
    assert (len(train), len(test)) == (16, 8)  # 2 categories of 6 pages with 2 sections of some length
    assert set(train["label"]) == set(test["label"]) == {0, 1}
    assert not set(train["text"]) & set(test["text"])
    assert (task.samples_per_label, task.n_experiments) == (8, 10)


def test_clustering_has_one_row_of_all_texts(builder: Make) -> None:
    task = open_built(builder().build(BENCHMARK["WikiSyndromesClustering"]).folder)
    task.load_data()

    (row,) = task.loaded["test"]
    assert len(row["sentences"]) == len(row["labels"]) == 48
    assert set(row["labels"]) == {0, 1, 2, 3}


def test_documents_are_titled_as_in_the_benchmark_and_go_by_row_numbers(builder: Make) -> None:
    built = builder().build(BENCHMARK["TrialsTitleOutcomesRetrieval"])
    task = open_built(built.folder)
    task.load_data()

    data = task.loaded["test"]
    assert set(data["corpus"]["title"]) == {"No title"}
    assert data["corpus"]["id"] == data["queries"]["id"] == [str(number) for number in range(7)]
    assert data["relevant_docs"]["3"] == {"3": 1}
    assert data["corpus"]["text"][0] == (
        "measure: Strength of the lung description: By scale\nmeasure: Death description: "
    )
    assert read_built(built.folder)[0]["corpus"]["source_id"][0] == "NCT00000001"


def test_pairs_are_half_positive_before_the_cap(builder: Make) -> None:
    tables, _ = read_built(builder().build(BENCHMARK["TrialsTitleDescriptionPair"]).folder)

    test = tables["test"]
    assert sorted(test["label"]) == [0] * 7 + [1] * 7
    of = dict(zip(zip(test["sentence1"], test["label"], strict=True), test["sentence2"], strict=True))
    assert all(of[title, 0] != of[title, 1] for title in set(test["sentence1"]))


def test_questions_of_the_test_split_are_left_out_unless_faithful(builder: Make) -> None:
    task = BENCHMARK["MedMCQAPair"]

    ours, theirs = builder().build(task), builder(faithful=True).build(task)

    tables = read_built(theirs.folder)[0]["test"]
    assert ours.manifest.rows == {"test": 24}  # the empty options are none; "None" and "NA" are texts
    assert theirs.manifest.rows == {"test": 36}
    assert sum(tables["label"]) == 8
    assert {"None", "NA"} < set(tables["sentence2"])
    assert any("test split is left out" in one for one in ours.manifest.differences)
    assert ours.manifest.sha256 != theirs.manifest.sha256


def test_the_first_version_of_a_preprint_is_taken_unless_faithful(builder: Make) -> None:
    task = BENCHMARK["MedRxivRetrieval"]

    ours, theirs = builder().build(task), builder(faithful=True).build(task)

    assert (ours.manifest.rows["corpus"], theirs.manifest.rows["corpus"]) == (7, 14)
    assert ours.manifest.dropped == {"later versions": 7}
    assert ours.manifest.licences == {"cc_by": 7}


def test_the_manifest_tells_what_the_task_was_made_of(builder: Make) -> None:
    built = builder().build(BENCHMARK["PubMedRetrieval"])
    manifest = read_manifest(built.folder)

    assert manifest == built.manifest
    assert (manifest.name, manifest.task, manifest.number) == ("PubMedRetrieval.LLMFree", "PubMedRetrieval", 47)
    assert "Unlike the benchmark: the paper's title for a query" in manifest.description
    digest = manifest.recipe["export"]
    assert manifest.snapshot == {"export": "pubmed", "sha256": digest, "read": manifest.built[:10]}
    assert manifest.recipe["seed"] == 42
    assert manifest.dropped == {"papers without title or abstract": 1}
    assert set(manifest.versions) == {"medte", "mteb", "numpy", "scikit-learn"}
    assert not manifest.notice


def test_notes_stay_private(builder: Make) -> None:
    built = builder().build(BENCHMARK["MimicHistoryDiagnosisRetrieval"])

    assert "must not be shared" in built.manifest.notice
    assert built.folder.stat().st_mode & 0o077 == 0


def test_what_is_built_with_the_same_options_is_not_built_again(builder: Make) -> None:
    task = BENCHMARK["MedQAPair"]
    first = builder().build(task)

    again, other = builder().build(task), builder(max_rows=9).build(task)

    assert (first.fresh, again.fresh, other.fresh) == (True, False, True)
    assert again.manifest == first.manifest


def test_a_changed_export_is_noticed_wherever_it_lies(
    builder: Make, exports: Mapping[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task, folder, copy = BENCHMARK["MedQAPair"], tmp_path / "medqa", tmp_path / "elsewhere"
    shutil.copytree(exports["medqa"], folder)

    def build(export: Path) -> Built:
        return builder(Sources(tmp_path / "cache", offline=True, exports={"medqa": export})).build(task)

    first = build(folder)
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)  # with other dates
    (copy / ".hidden").write_text("nothing of the export")
    same = build(copy)
    (folder / "test.jsonl").write_text((folder / "test.jsonl").read_text().replace("Nothing", "nothing"))
    before = caplog.text
    changed = build(folder)

    assert (first.fresh, same.fresh, changed.fresh) == (True, False, True)
    assert same.manifest == first.manifest
    assert "stale" not in before
    assert "MedQAPair is stale, its export changed; it is built anew" in caplog.text
    assert changed.manifest.sha256 != first.manifest.sha256
    assert not build(folder).fresh


def test_of_mimic_only_the_tables_that_are_read_count(exports: Mapping[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "mimic"
    shutil.copytree(exports["mimic"], folder)

    def digest() -> str | None:
        return Sources(tmp_path, exports={"mimic": folder}).export("mimic")

    first = digest()
    (folder / "chartevents.csv").write_text("as large as a disk")
    other = digest()
    with (folder / "admissions.csv").open("a") as table:
        table.write("\n")

    assert first == other != digest()


def test_half_a_task_is_none(builder: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    task = BENCHMARK["TrialsTitleOutcomesRetrieval"]
    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.write_table", stop)
        with pytest.raises(KeyboardInterrupt):
            builder().build(task)

    assert [path.name for path in (tmp_path / "tasks").iterdir()] == [f".{task.name}.lock"]
    assert builder().build(task).fresh


def test_a_failure_leaves_an_earlier_build_alone(builder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    task = BENCHMARK["TrialsTitleOutcomesRetrieval"]
    first = builder().build(task)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(ReadError, match="cannot be written: No space left"):
        builder().build(task, again=True)

    assert read_manifest(first.folder) == first.manifest


def test_an_earlier_build_is_put_back_where_another_does_not_take_its_place(
    builder: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task = BENCHMARK["TrialsTitleOutcomesRetrieval"]
    first = builder().build(task)
    rename = Path.rename

    def fail(path: Path, to: Path) -> Path:
        if path.name.endswith(".draft"):
            raise OSError(5, "Input/output error")
        return rename(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail)
        with pytest.raises(ReadError, match="cannot be written: Input/output error"):
            builder().build(task, again=True)
    assert read_manifest(first.folder) == first.manifest

    first.folder.rename(first.folder.with_name(f".{task.name}.old"))  # as a kill between the two steps leaves it
    assert find_built(tmp_path / "tasks", task.name) == first.folder
    assert read_manifest(first.folder) == first.manifest
    first.folder.rename(first.folder.with_name(f".{task.name}.old"))
    assert not builder().build(task).fresh


@pytest.mark.parametrize(
    ("name", "stays", "message"),
    [
        ("MimicCancerTypesClustering", 1, "no row of the class 'Breast_Cancer'"),
        ("MimicReadmission3DaysClassification", 1, "no row of the class '0'"),
        ("MimicComplaintDiagnosisPair", 1, "gives 1 pairs; hard negatives take two"),
        ("MimicComplaintDiagnosisRetrieval", 0, "its source gives no row"),
    ],
)
def test_too_little_is_an_error_that_names_the_task(
    name: str, stays: int, message: str, builder: Make, tmp_path: Path
) -> None:
    now = datetime.datetime(2180, 1, 1)
    sections = {"Chief Complaint": "pain", "Discharge Diagnosis": "gout"}
    stay = SimpleNamespace(hadm_id=1, subject_id=1, admitted=now, discharged=now, sections=sections)
    given = Given(SimpleNamespace(stays=lambda: [stay] * stays))

    with pytest.raises(ReadError, match=message) as caught:
        builder(given).build(BENCHMARK[name])

    assert caught.value.path == name
    assert not (tmp_path / "tasks" / name).exists()


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("manifest.json", "{", "is damaged; build the task again"),
        ("manifest.json", "{}", "is of format None, not 1"),
        ("manifest.json", '{"format": 1}', "field 'name': Field required"),
        ("corpus.parquet", "nothing", "is missing or damaged"),
        ("queries.parquet", None, "is missing or damaged"),
    ],
)
def test_a_damaged_task_is_told(file: str, text: str | None, message: str, builder: Make) -> None:
    task = BENCHMARK["TrialsTitleOutcomesRetrieval"]
    built = builder().build(task)
    path = built.folder / file
    path.unlink() if text is None else path.write_text(text)

    with pytest.raises(ReadError, match=message):
        open_built(built.folder).load_data()
    assert builder().build(task).fresh
    open_built(built.folder).load_data()


def test_changed_tables_are_told(builder: Make) -> None:
    first = builder().build(BENCHMARK["TrialsTitleOutcomesRetrieval"]).folder
    other = builder().build(BENCHMARK["TrialsTitleDescriptionRetrieval"]).folder
    (other / "corpus.parquet").replace(first / "corpus.parquet")

    with pytest.raises(ReadError, match="not those that its manifest tells of"):
        open_built(first).load_data()


def test_lone_surrogates_do_not_stop_a_build(builder: Make) -> None:
    pairs = [SimpleNamespace(id=str(at), question="Half \ud800?", answer=f"A {at} \udfff") for at in (0, 1)]
    given = Given(SimpleNamespace(pairs=pairs, left_out=0))

    tables, _ = read_built(builder(given).build(BENCHMARK["MedQuADRetrieval"]).folder)

    assert tables["queries"]["text"] == ["Half \ufffd?"] * 2
