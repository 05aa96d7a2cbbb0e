"""Pairs of corpora: which texts go together, what is left out, and the numbers of it."""

import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from es_ingest.records import Deleted, Malformed, Record
from medte_haystack.training.pairs import Pair
from medte_train.cli import app
from medte_train.making import conclusion_pairs, field_pairs, half_pairs, records_of, same_pairs, section_pairs
from medte_train.origins import ORIGINS
from medte_train.pair_files import read_pairs
from medte_train.tally import Tally


def record(number: int, title: str = "", text: str = "", **meta) -> Record:
    return Record(str(number), title, text, meta, f"corpus:{number}")


def texts(pairs):
    return [(pair.anchor, pair.positive) for pair in pairs]


def test_a_question_is_text_1_and_else_the_title():
    records = [record(1, "Gout", "Uric acid.", question="What is gout?"), record(2, "Sepsis", "An infection.")]
    assert texts(field_pairs(records, "s", "jsonl")) == [("What is gout?", "Uric acid."), ("Sepsis", "An infection.")]
    assert texts(field_pairs(records, "s", "jsonl", anchor="text", positive="question")) == [
        ("Uric acid.", "What is gout?"),
        ("An infection.", ""),
    ]
    terms = record(3, text="Urate falls.", mesh=["Gout", "Uric Acid"])
    assert texts(field_pairs([terms], "s", "pubmedqa", anchor="text", positive="mesh")) == [
        ("Urate falls.", "Gout; Uric Acid")
    ]


def test_ids_that_tell_overlap_are_kept():
    (pair,) = field_pairs([record(7, "T", "A", doi="10.1/x", pmc="PMC5", hadm_id=3)], "s", "pubmed")
    assert pair.keys == {"pmid": "7", "doi": "10.1/x", "pmcid": "PMC5", "hadm_id": "3"}
    (pair,) = field_pairs([record(7, "T", "A")], "s", "clinicaltrials")
    assert pair.keys == {"nct": "7"}
    (pair,) = field_pairs([record(7, "T", "A")], "s", "jsonl")
    assert pair.keys == {}


def test_neighbouring_sections_go_together():
    text = "Background of this study here.\n\nMETHODS\n\nWe asked a hundred patients.\n \nMost of them were well."
    pairs = list(section_pairs([record(1, text=text), record(2, text="Only one section is here.")], "s", "jsonl"))
    assert texts(pairs) == [
        ("Background of this study here.", "We asked a hundred patients."),
        ("We asked a hundred patients.", "Most of them were well."),
    ]
    assert [pair.id for pair in pairs] == ["1#1", "1#2"]


def test_halves_of_a_text_go_together():
    found = list(half_pairs([record(1, text="Is it? It is. At 2.5 mg."), record(2, text="One alone.")], "s", "jsonl"))
    assert texts(found) == [("Is it? It is.", "At 2.5 mg."), ("One alone.", "")]


def test_a_conclusion_goes_with_its_title_and_what_stands_before_it():
    found = [
        record(1, "Gout", "Urate rose. Pain fell. CONCLUSIONS: Lowering urate eases gout pain."),
        record(2, text="Urate rose. In conclusion, DNA: repair needs more time."),
        record(3, "Gout", "Urate rose. It was so."),
        record(4, "Gout", "There is only this one sentence here."),
    ]
    assert texts(conclusion_pairs(found, "s", "jsonl")) == [
        ("Lowering urate eases gout pain.", "Gout\nUrate rose. Pain fell."),
        ("In conclusion, DNA: repair needs more time.", "Urate rose."),
        ("", "Gout\nUrate rose."),
        ("There is only this one sentence here.", ""),
    ]


def test_texts_of_one_value_go_together():
    values = ["a", "b", "a", ["b", "c"], None, "a"]
    records = [record(n, text=f"text {n}", label=value) for n, value in enumerate(values)]
    pairs = list(same_pairs(records, "s", "jsonl", "label"))
    assert [pair.id for pair in pairs] == ["0+2", "1+3", "2+5"]
    assert [pair.group for pair in pairs] == ["a", "b", "a"]


def test_pairs_of_one_value_keep_the_ids_of_both_texts():
    records = [record(n, text=f"text {n}", label="x", hadm_id=n, doi=" ") for n in (7, 9)]
    (pair,) = same_pairs(records, "s", "jsonl", "label")
    assert (pair.keys, pair.anchor_keys) == ({"hadm_id": "9"}, {"hadm_id": "7"})


def test_what_is_left_out_is_counted(caplog):
    tally = Tally("s")
    items = [record(1), Malformed("corpus:2", "empty text"), Deleted("3", "corpus:3")]
    assert list(records_of(items, tally)) == items[:1]
    assert "corpus:2: left out: empty text" in caplog.text
    pairs = [Pair("1", "s", "Gout", "Uric acid"), Pair("2", "s", "gout ", "x"), Pair("3", "s", "", "x")]
    assert list(tally.kept(pairs)) == pairs[:1]
    assert tally.to_dict() == {
        "source": "s",
        "records": 1,
        "malformed": 1,
        "lacking": 1,
        "repeated": 1,
        "pairs": 1,
        "anchor_characters": 4.0,
        "positive_characters": 9.0,
    }


def test_pairs_can_go_both_ways():
    tally = Tally("s")
    found = list(tally.kept([Pair("1", "s", "Gout", "Uric acid", keys={"pmid": "1"})], symmetric=True))
    assert found[1] == Pair("1~", "s", "Uric acid", "Gout", keys={"pmid": "1"})
    assert tally.pairs == 2


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["pairs", *map(str, words)])


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "papers.jsonl"
    rows = [{"id": n, "title": f"title {n % 3}", "abstract": f"abstract {n}", "topic": n % 2} for n in range(5)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + "no json\n")
    return path


def test_the_command_writes_a_file_and_its_numbers(call, corpus, tmp_path):
    result = call(corpus, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["file"] == "pairs/papers.jsonl.gz"
    assert (found["records"], found["malformed"], found["repeated"], found["pairs"]) == (5, 1, 2, 3)
    pairs = list(read_pairs([tmp_path / "pairs"]))
    assert texts(pairs) == [(f"title {n}", f"abstract {n}") for n in range(3)]
    assert {pair.source for pair in pairs} == {"papers"}
    shown = call(corpus, "--out", "other.jsonl", "--name", "mine", "--symmetric").stdout
    assert "source               mine" in shown
    assert "pairs                8" in shown
    assert call(corpus, "--out", "other.jsonl", "--same", "topic").exit_code == 0
    assert len(list(read_pairs(["other.jsonl"]))) == 3
    assert call(corpus, "--out", "other.jsonl", "--halves").exit_code == 0
    assert list(read_pairs(["other.jsonl"])) == []  # no abstract has two sentences
    path = tmp_path / "ended.jsonl"
    path.write_text('{"id": 1, "title": "Gout", "abstract": "Urate rose. It was lower after a week."}')
    assert call(path, "--out", "other.jsonl", "--conclusions").exit_code == 0
    assert texts(read_pairs(["other.jsonl"])) == [("It was lower after a week.", "Gout\nUrate rose.")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name files to read, or one of medte-eval's sources"),
        (("papers.jsonl", "--from", "medqa"), "name files to read, or one of"),
        (("papers.jsonl", "--sections", "--same", "topic"), "exclude one another"),
        (("papers.jsonl", "--conclusions", "--halves"), "exclude one another"),
        (("--from", "nix"), "no source 'nix'; there are wikipedia, pubmed"),
        (("--from", "medqa", "--anchor", "title"), "--from knows its texts"),
    ],
)
def test_options_that_do_not_go_together_are_refused(call, corpus, words, message):
    result = call(*words)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_a_source_that_cannot_be_read_or_written_is_told(call, corpus, tmp_path):
    result = call("missing.jsonl")
    assert result.exit_code == 7
    assert "missing.jsonl: does not exist" in result.stderr
    (tmp_path / "file").touch()
    result = call(corpus, "--out", "file/pairs.jsonl")
    assert result.exit_code == 8
    assert "file/pairs.jsonl cannot be written: Not a directory" in result.stderr or "File exists" in result.stderr


def test_sources_of_the_evaluation_give_pairs(call, tmp_path):
    rows = [
        {
            "id": "a",
            "question": "Which vitamin?",
            "opa": "A",
            "opb": "B",
            "opc": "C",
            "opd": "D",
            "cop": 2,
            "exp": "It is C.",
        },
        {"id": "b", "question": "Which bone?", "opa": "A", "opb": "B", "opc": "C", "opd": "D", "cop": 0, "exp": None},
    ]
    (tmp_path / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "test.jsonl").write_text(json.dumps({**rows[0], "id": "c", "cop": -1, "question": "Another?"}) + "\n")
    result = call("--from", "medmcqa", "--export", f"medmcqa={tmp_path}", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["lacking"] == 1
    (pair,) = read_pairs(["pairs/medmcqa.jsonl.gz"])
    assert pair == Pair("a", "medmcqa", "Which vitamin?", "It is C.", keys={"medmcqa": "a"})


def test_notes_pair_their_diagnosis_with_what_led_to_it():
    found = {"Discharge Diagnosis": "Sepsis.", "History of Present Illness": "Fever.", "Chief Complaint": "Chills."}
    stay = SimpleNamespace(hadm_id=5, subject_id=7, sections=found)

    class Stays:
        def stays(self):
            yield from [stay, stay]

    (pair,) = ORIGINS["mimic"].pairs(Stays(), 1)
    assert pair == Pair("5", "mimic", "Sepsis.", "Chills.\nFever.", keys={"hadm_id": "5", "subject_id": "7"})


def test_limits_are_of_all_categories_and_of_training_questions():
    words = "one two three four five"

    class Pages:
        def pages(self, category, depth, limit):
            sections = {"a": f"{category} {words}", "b": words}
            yield from (SimpleNamespace(id=f"{category} {n}", sections=sections) for n in range(limit))

    class Questions:
        def questions(self):
            for n in range(20):
                split = "test" if n < 10 else "train"
                yield SimpleNamespace(id=str(n), split=split, question="q", explanation="e", options=["o"], answer=0)
            pytest.fail("read on behind the limit")

    found = [pair.id.partition("#")[0] for pair in ORIGINS["wikipedia"].pairs(Pages(), 12)]
    assert len(found) == 12
    assert len({name.rpartition(" ")[0] for name in found}) == 4  # three of each, as there are five
    for name in ("medmcqa", "medqa"):
        assert [pair.id for pair in ORIGINS[name].pairs(Questions(), 3)] == ["10", "11", "12"]


def test_the_sources_are_listed(call):
    shown = call("--from", "list").stdout
    assert all(name in shown for name in ORIGINS)
    assert "PhysioNet" in shown
