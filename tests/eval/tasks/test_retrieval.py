import json
from pathlib import Path

import pytest
from mteb.abstasks.retrieval import AbsTaskRetrieval

from es_ingest.records import ReadError
from medte_eval.tasks.beir import BeirRetrieval
from medte_eval.tasks.content import Judged
from medte_eval.tasks.medquad import MedQuADRetrieval
from medte_eval.tasks.retrieval import LocalRetrieval


def test_metadata_is_complete_in_mtebs_eyes() -> None:
    metadata = MedQuADRetrieval.metadata

    metadata._validate_metadata()
    assert metadata.is_filled()
    assert metadata.name == "MedQuADRetrieval.LLMFree"
    assert "question -> original answer" in metadata.description.lower()
    assert "LLM-free" in metadata.description


def test_medquad_asks_for_the_records_own_answer(medquad: Path) -> None:
    task = MedQuADRetrieval(medquad)
    assert isinstance(task, AbsTaskRetrieval)

    task.load_data()

    corpus, queries, relevant = task.data["corpus"], task.data["queries"], task.data["relevant_docs"]
    assert set(corpus["title"]) == {""}
    assert len(corpus) == len(queries) == len(relevant) == 31
    asked = dict(zip(queries["id"], queries["text"], strict=True))
    twice = [query for query, text in asked.items() if text == "What causes gout?"]
    assert [relevant[query] for query in twice] == [{"TEST:0000001-3": 1}, {"TEST:0000001-5": 1}]


def test_a_record_without_a_question_is_a_document(medquad: Path) -> None:
    (medquad / "0000099.xml").write_text(
        '<Document id="0000099" source="TEST"><QAPairs><QAPair pid="1"><Question></Question><Answer>Rest.</Answer>'
        "</QAPair></QAPairs></Document>"
    )
    task = MedQuADRetrieval(medquad)
    task.load_data()

    assert (len(task.data["corpus"]), len(task.data["queries"])) == (32, 31)


def test_sampling_is_the_same_every_time_and_whatever_the_order() -> None:
    queries = {f"q{number}": "?" for number in range(100)}
    relevant = {query: {"d": 1} for query in queries}
    judged = Judged([("d", "", "text")], queries, relevant)
    turned = Judged([("d", "", "text")], dict(reversed(queries.items())), relevant)

    first, second = judged.sample(7), turned.sample(7)

    assert list(first.queries) == list(second.queries) == list(first.relevant)
    assert list(first.queries) == ["q11", "q21", "q34", "q37", "q40", "q82", "q94"]
    assert first.sha256() == second.sha256() != judged.sha256()
    assert judged.sample(100) is judged


def test_the_datas_hash_is_the_revision_and_follows_the_data(medquad: Path) -> None:
    first, again, sampled = MedQuADRetrieval(medquad), MedQuADRetrieval(medquad), MedQuADRetrieval(medquad, queries=5)
    for task in (first, again, sampled):
        task.load_data()

    assert first.metadata.dataset["revision"] == again.metadata.dataset["revision"]
    assert first.metadata.dataset["revision"] != sampled.metadata.dataset["revision"]
    assert len(sampled.data["queries"]) == len(sampled.data["relevant_docs"]) == 5
    assert len(sampled.data["corpus"]) == 31
    assert MedQuADRetrieval.metadata.dataset["revision"] == "not loaded"


def test_a_task_can_be_unloaded_and_loaded_again(beir: Path) -> None:
    task = BeirRetrieval(beir)
    task.load_data()
    first = task.metadata.dataset["revision"]

    task.unload_data()
    assert not task.data_loaded
    task.load_data()

    assert task.metadata.dataset["revision"] == first
    assert len(task.data["corpus"]) == 30


def test_lone_surrogates_do_not_stop_a_task(beir: Path) -> None:
    with (beir / "corpus.jsonl").open("a") as corpus:
        corpus.write("\n" + json.dumps({"_id": "odd", "title": "", "text": "half \ud800 a pair"}) + "\n")
    task = BeirRetrieval(beir)
    task.load_data()

    assert task.data["corpus"]["text"][-1] == "half \ufffd a pair"


@pytest.mark.parametrize(
    ("judged", "message"),
    [
        (Judged([], {"q": "?"}, {"q": {"d": 1}}), "no document"),
        (Judged([("d", "", "x")], {}, {}), "no query"),
        (Judged([("d", "", "x"), ("d", "", "y")], {"q": "?"}, {"q": {"d": 1}}), "'d' comes twice"),
        (Judged([("d", "", "x")], {"q": "?"}, {"q": {"other": 1}}), "corpus holds none of the judged documents"),
    ],
)
def test_data_that_cannot_be_judged_is_an_error(judged: Judged, message: str) -> None:
    class Given(LocalRetrieval):
        metadata = MedQuADRetrieval.metadata

        def read(self) -> Judged:
            return judged

    with pytest.raises(ReadError, match=message):
        Given().load_data()


def test_a_part_of_the_judged_documents_may_be_missing_and_is_told(beir: Path) -> None:
    with (beir / "qrels" / "test.tsv").open("a") as qrels:
        qrels.write("\n0\tnowhere\t1")
    task = BeirRetrieval(beir)
    task.load_data()

    assert task.absent == 1


def test_no_metric_looks_deeper_than_the_search(beir: Path) -> None:
    assert BeirRetrieval(beir)._top_k == 100
    shallow = BeirRetrieval(beir, top_k=10)
    assert (shallow._top_k, shallow.k_values) == (10, (1, 3, 5, 10))
