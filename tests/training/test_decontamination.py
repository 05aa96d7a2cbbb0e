import csv
import json
import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
from datasets import Dataset
from typer.testing import CliRunner

from es_ingest.records import ReadError
from medte_eval.sources.access import Access
from medte_eval.tasks import UnknownTaskError
from medte_eval.tasks.benchmark import BENCHMARK
from medte_eval.tasks.benchmark.sources import SOURCES
from medte_haystack.errors import TrainingConfigError, TrainingDataError, TrainingOutputError
from medte_haystack.training.config import Config, Evaluation
from medte_haystack.training.pairs import Pair
from medte_train.cli import app
from medte_train.decontamination import REMOVED, REPORT, Decontamination, decontaminate, training_pairs
from medte_train.evaluated import evaluated, rows_of
from medte_train.origins import ORIGINS
from medte_train.pair_files import read_pairs, write_pairs
from tests.eval.conftest import beir, encoder, medquad  # noqa: F401  fixtures
from tests.eval.tasks.conftest import builder, exports  # noqa: F401

LONG = "The first of many sentences about the liver says that it lies below the diaphragm, on the right, and is large."
OTHER = "Nothing of the following was ever used to evaluate a model, since nobody but this test has written it down."


def pair(number, anchor=OTHER, positive=f"{OTHER} Indeed.", source="train", negatives=(), **keys):
    return Pair(str(number), source, anchor, positive, negatives, keys)


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "300", "NO_COLOR": "1"})


def kinds(names, pairs, **options):
    cleaned = Decontamination.against_tasks([str(name) for name in names], **options)
    kept = list(cleaned.keep(pairs))
    return [one.id for one in kept], cleaned.report()["sources"]


def test_rows_go_by_id_and_text_and_the_rest_stays(tmp_path):
    texts = tmp_path / "held out.txt"
    texts.write_text(f"{LONG}\n\nA second line of text.\n")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"pmid": 12, "title": "On livers and spleens", "parts": [{"text": "Part of a list."}]}))
    pairs = [
        pair(1),
        pair(2, anchor=LONG.upper()),
        pair(3, positive=LONG.replace("large", "rather large")),
        pair(4, pmid="012"),
        pair(5, anchor="part of a list"),
        pair(6, source="another", anchor="A second LINE of text"),
    ]

    kept, found = kinds([texts, rows], pairs)

    assert kept == ["1"]
    assert found["train"] == {
        "pairs": 5,
        "kept": 1,
        "removed": 4,
        "kinds": {"id": 1, "exact": 2, "near": 1},
        "tasks": {str(texts): {"exact": 1, "near": 1}, str(rows): {"id": 1, "exact": 1}},
        "negatives_removed": 0,
        "short_kept": 0,
    }
    assert found["another"]["kinds"] == {"exact": 1}


def test_hard_negatives_that_are_evaluated_on_go_and_their_pair_stays(tmp_path):
    texts = tmp_path / "held out.txt"
    texts.write_text(LONG)
    cleaned = Decontamination.against_tasks([str(texts)])

    (kept,) = cleaned.keep([pair(1, negatives=(LONG, "Something else that is wrong."))])

    assert kept.negatives == ("Something else that is wrong.",)
    assert cleaned.report()["sources"]["train"]["negatives_removed"] == 1


def test_each_of_the_51_tasks_finds_its_own_rows(builder, tmp_path):  # noqa: F811
    made = builder()
    for task in BENCHMARK.values():
        made.build(task)
    names = [task.name for task in BENCHMARK.values() if not task.reserve]
    seen = {}
    for name, rows in evaluated(["MedTEB"], data_dir=tmp_path / "tasks"):
        held = list(rows)
        cleaned = Decontamination.against_tasks([name], data_dir=tmp_path / "tasks", exact_words=1)
        by_text = [pair(n, *one.texts[:1]) for n, one in enumerate(held) if one.texts[0].strip()]
        by_id = [pair(n, **one.keys) for n, one in enumerate(held) if one.keys]
        assert list(cleaned.keep([*by_text, *by_id])) == []
        found = cleaned.report()["sources"]["train"]["tasks"][name]
        assert found == {"id": len(by_id), "exact": len(by_text)}
        seen[name] = {kind for one in held for kind in one.keys}

    assert list(seen) == names
    assert {kind for kinds in seen.values() for kind in kinds} == {
        "wikipedia", "pmcid", "hadm_id", "medmcqa", "medqa", "pmid", "nct", "medquad", "doi",
    }  # fmt: skip
    assert all(len(kinds) == 1 for kinds in seen.values())


@pytest.mark.parametrize("origin", sorted(ORIGINS))
def test_pairs_of_a_source_are_known_by_the_ids_of_its_tasks(origin, builder, exports, tmp_path):  # noqa: F811
    made = builder()
    for task in BENCHMARK.values():
        if task.source == origin:
            made.build(task)
    source = SOURCES[origin].open(Access(tmp_path, True, exports[origin]))
    pairs = [replace(one, anchor=OTHER, positive=OTHER) for one in ORIGINS[origin].pairs(source, 1000)]

    cleaned = Decontamination.against_tasks(["MedTEB"], data_dir=tmp_path / "tasks")
    left = list(cleaned.keep(pairs))

    found = cleaned.report()["sources"][origin]
    assert found["kinds"] == {"id": found["removed"]}
    assert found["removed"] > len(left)


def test_a_beir_folder_brings_titles_queries_and_ids(beir):  # noqa: F811
    with (beir / "corpus.jsonl").open("a") as file:
        file.write('\n{"_id": "x", "title": "A title that is known", "text": "Texts.", "metadata": {"pubmed_id": "9"}}')
    names = [f"beir:{beir}"]
    pairs = [
        pair(1, anchor="How to treat gout"),
        pair(2, anchor="a title that is KNOWN"),
        pair(3, pmid="9"),
        pair(4, anchor="what is rest"),  # not judged, so not asked
    ]

    kept, found = kinds(names, pairs)

    assert kept == ["4"]
    assert found["train"]["kinds"] == {"id": 1, "exact": 2}


def test_medquad_goes_by_page_and_question(medquad):  # noqa: F811
    pairs = [
        pair(1, medquad="TEST:0000001-2"),
        pair(2, medquad="TEST:0000099-2"),
        pair(3, anchor="what are the symptoms of scurvy"),
    ]

    kept, found = kinds(["MedQuADRetrieval"], pairs, data=medquad)

    assert kept == ["2"]
    assert found["train"]["kinds"] == {"id": 1, "exact": 1}


def test_tasks_of_mteb_are_read_whatever_their_shape():
    corpus = Dataset.from_list([{"id": "d", "title": "A title here", "text": "A text there"}])
    queries = Dataset.from_list([{"id": "q", "text": "Which text is asked"}])
    retrieval = {"default": {"test": {"corpus": corpus, "queries": queries, "relevant_docs": {"q": {"d": 1}}}}}
    clusters = {"test": Dataset.from_list([{"sentences": ["one text", "two texts"], "labels": ["a", "b"]}])}
    pairs = {"default": {"test": Dataset.from_list([{"sentence1": "first text", "sentence2": "second text", "l": 1}])}}

    def texts(dataset):
        task = SimpleNamespace(load_data=lambda: None, dataset=dataset)
        return [row.texts for row in rows_of(task)]

    assert texts(retrieval) == [
        ("A title here", "A text there", "A title here A text there"),
        ("Which text is asked",),
        ("Which text is asked", "A text there"),
    ]
    assert texts(clusters) == [(), ("one text",), ("two texts",), ("a",), ("b",)]
    assert texts(pairs) == [("first text", "second text")]


def test_files_are_written_anew_with_a_report(tmp_path):
    texts, data, out = tmp_path / "held out.txt", tmp_path / "pairs", tmp_path / "out"
    texts.write_text(LONG)
    write_pairs(data / "a.jsonl.gz", [pair(1), pair(2, anchor=LONG)])
    write_pairs(data / "b.jsonl", [pair(3, source="b", hadm_id="7", subject_id="1")])
    (data / "a.jsonl.gz").chmod(0o640)

    result = invoke("decontaminate", data, "--against", texts, "--out", out, "--json", "--quiet")

    assert result.exit_code == 0, result.stderr
    assert [one.id for one in read_pairs([out])] == ["1", "3"]
    assert sorted(path.name for path in out.iterdir()) == ["a.jsonl.gz", "b.jsonl", REPORT, REMOVED]
    assert json.loads(result.stdout) == json.loads((out / REPORT).read_text())
    modes = [(out / name).stat().st_mode & 0o777 for name in ("a.jsonl.gz", "b.jsonl")]
    assert modes == [0o640, 0o600]
    with (out / REMOVED).open(newline="") as file:
        assert list(csv.reader(file)) == [["source", "id", "kind", "tasks"], ["train", "2", "exact", str(texts)]]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    table = invoke("decontaminate", data, "--against", texts, "--out", out)
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}
    assert table.stdout.splitlines()[0].split()[:5] == ["source", "task", "pairs", "kept", "removed"]
    assert "a.jsonl.gz: 1 pairs kept" in table.stderr


def test_whole_patients_go_though_another_file_tells_whose_the_stay_is(tmp_path):
    stays = tmp_path / "stays.jsonl"
    stays.write_text('{"hadm_id": 7, "text": "A stay."}')
    write_pairs(tmp_path / "a.jsonl", [pair(1, hadm_id="8", subject_id="1"), pair(2, hadm_id="9", subject_id="2")])
    write_pairs(tmp_path / "b.jsonl", [pair(3, hadm_id="7", subject_id="1")])

    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    decontaminate(Decontamination.against_tasks([str(stays)]), files, tmp_path / "out")

    assert [one.id for one in read_pairs([tmp_path / "out"])] == ["2"]


def test_a_source_of_which_nothing_is_left_is_told(tmp_path):
    (tmp_path / "held.txt").write_text(LONG)
    write_pairs(tmp_path / "a.jsonl", [pair(1, anchor=LONG)])

    result = invoke(
        "decontaminate", tmp_path / "a.jsonl", "--against", tmp_path / "held.txt", "--out", tmp_path / "out"
    )

    assert result.exit_code == 0
    assert "a.jsonl: no pair is left" in result.stderr


@pytest.mark.parametrize(
    ("against", "error", "message"),
    [
        ("nothing", UnknownTaskError, "unknown task 'nothing'"),
        (".", UnknownTaskError, "is a folder; write beir:"),
        ("MedQAPair", ReadError, "is not built"),
        ("empty.txt", TrainingDataError, "empty.txt holds no text"),
        ("blank.txt", TrainingDataError, "blank.txt holds no text"),
        ("broken.jsonl", ReadError, "broken.jsonl:1: not JSON"),
        ("unknown.bin", ReadError, "cannot tell its format"),
    ],
)
def test_evaluation_data_that_cannot_be_had_is_one_message(against, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "broken.jsonl").write_text("{")
    (tmp_path / "unknown.bin").write_bytes(b"\0")

    with pytest.raises(error, match=message):
        Decontamination.against_tasks([against], data_dir=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["a.jsonl", "--against", "held.txt", "--out", "."], 8, "is what is read; name another folder"),
        (["a.jsonl", "b/a.jsonl", "--against", "held.txt", "--out", "o"], 8, "two files are called a.jsonl"),
        (["a.jsonl", "--against", "held.txt", "--out", "held.txt/o"], 8, "cannot be written: Not a directory"),
        (["a.jsonl", "--against", "nothing", "--out", "o"], 2, "unknown task 'nothing'"),
        (["a.jsonl", "--against", "held.txt", "--out", "o", "--threshold", "1"], 2, "--threshold is 1"),
        (["none.jsonl", "--against", "held.txt", "--out", "o"], 7, "none.jsonl: does not exist"),
        (["bad.jsonl", "--against", "held.txt", "--out", "o"], 7, "bad.jsonl:1: field 'positive' is missing"),
    ],
)
def test_bad_usage_is_one_message(arguments, status, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "held.txt").write_text(LONG)
    (tmp_path / "bad.jsonl").write_text('{"id": "1", "source": "s", "anchor": "a"}')
    for path in (tmp_path / "a.jsonl", tmp_path / "b" / "a.jsonl"):
        write_pairs(path, [pair(1)])

    result = invoke("decontaminate", *arguments)

    assert (result.exit_code, message in " ".join(result.stderr.split())) == (status, True), result.stderr


def test_a_file_that_cannot_be_written_leaves_nothing_half(tmp_path, monkeypatch):
    (tmp_path / "held.txt").write_text(LONG)
    write_pairs(tmp_path / "a.jsonl", [pair(1)])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medte_train.pair_files.os.fsync", full)
    cleaned = Decontamination.against_tasks([str(tmp_path / "held.txt")])
    with pytest.raises(TrainingOutputError, match="No space left on device"):
        decontaminate(cleaned, [tmp_path / "a.jsonl"], tmp_path / "out")

    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def of_run(tmp_path, beir):  # noqa: F811
    """Make the configuration of a run over two pairs, one of which its evaluation task asks."""
    write_pairs(tmp_path / "pairs.jsonl", [pair(1), pair(2, anchor="how to treat gout"), pair(3, anchor=LONG)])
    (tmp_path / "held.txt").write_text(LONG)

    def make(tasks=(f"beir:{beir}",), **data):
        data = {"pairs": [str(tmp_path / "pairs.jsonl")], **data}
        return Config.model_validate({"run": {"steps": 1}, "data": data, "evaluation": {"tasks": tasks}})

    return make


def test_a_run_leaves_out_what_its_evaluation_holds_and_reports_it(of_run, tmp_path):
    by_default = list(training_pairs(of_run(), tmp_path))
    report = json.loads((tmp_path / REPORT).read_text())
    both = list(training_pairs(of_run(decontaminate_against=[str(tmp_path / "held.txt")]), tmp_path))

    assert [one.id for one in by_default] == ["1", "3"]
    assert report["sources"]["train"]["kinds"] == {"exact": 1}
    assert [one.id for one in both] == ["1"]


def test_a_run_that_names_nothing_is_kept_free_of_the_benchmark(of_run, builder, tmp_path):  # noqa: F811
    builder().build(BENCHMARK["MedQuADRetrieval"])
    settings = of_run(tasks=())
    settings = settings.model_copy(update={"evaluation": Evaluation(data_dir=str(tmp_path / "tasks"))})

    assert len(list(training_pairs(settings, tmp_path))) == 3
    assert list(json.loads((tmp_path / REPORT).read_text())["against"]) == ["MedQuADRetrieval"]


@pytest.mark.parametrize(
    ("given", "why"),
    [({"tasks": ()}, "evaluation.tasks and data.decontaminate_against name none"), ({"decontaminate": False}, "asked")],
)
def test_a_run_that_leaves_nothing_out_says_so(given, why, of_run, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("MEDTE_CACHE", str(tmp_path))
    monkeypatch.setattr("medte_train.decontamination.logger", logging.getLogger("cleaned"))

    (tmp_path / REPORT).write_text("{}")  # of an earlier try

    assert [one.id for one in training_pairs(of_run(**given), tmp_path)] == ["1", "2", "3"]

    assert not (tmp_path / REPORT).exists()
    assert why in caplog.text


def test_what_a_run_shall_be_kept_free_of_must_be_there(of_run, tmp_path):
    with pytest.raises(TrainingConfigError, match=r"data\.decontaminate_against: unknown task 'nothing'"):
        list(training_pairs(of_run(decontaminate_against=["nothing"]), tmp_path))
    with pytest.raises(ValueError, match="leave one of them out"):
        of_run(decontaminate_against=["nothing"], decontaminate=False)
