"""The systems against each other, on real vectors and a real server."""

import json
import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch
from mteb.models import EncoderProtocol, SearchProtocol

from es_ingest.cluster import Connection
from es_ingest.ingest import Ingester
from es_ingest.readers import read
from medte_eval.run import evaluate
from medte_eval.systems import SystemOptions, UnknownSystemError, find_systems
from medte_eval.systems.corpus import CorpusIndex
from medte_eval.systems.dense import DenseSystem
from medte_eval.systems.exact import ExactSystem
from medte_eval.systems.ownership import remove_orphans
from medte_eval.systems.system import System
from medte_eval.tasks.beir import BeirRetrieval
from medte_eval.tasks.medquad import MedQuADRetrieval
from medte_eval.tasks.retrieval import Judged
from medte_haystack.encoder import Encoder
from medte_haystack.errors import FingerprintMismatchError, IndexContractError, IndexMissingError
from medte_haystack.retrieval import Target

from .conftest import evaluation_indices

Opened = Callable[..., System]


def test_encoder_exact_and_flat_search_score_the_same(opened: Opened, medquad: Path) -> None:
    task = MedQuADRetrieval(medquad)
    encoder = evaluate(task, opened("encoder"))
    exact = evaluate(task, opened("exact", quantisation="flat"))
    dense = evaluate(task, opened("dense", quantisation="flat"), server_version="9.9")

    assert encoder.scores == pytest.approx(exact.scores, abs=1e-6)
    assert dense.scores == pytest.approx(exact.scores, abs=1e-6)
    assert 0.3 < exact.scores["recall_at_1"] < 1
    assert encoder.counts == dense.counts == exact.counts
    assert dense.counts == {"queries": 31, "documents": 31, "chunks": 31, "truncated": 0, "left_out": 0}
    assert dense.system["index_options"] == {"type": "flat"}
    assert dense.details["num_candidates"] == 1000
    assert dense.details["index_bytes"] > 31 * 384 * 4
    assert dense.details["mapping"]["properties"]["embedding"]["index_options"] == {"type": "flat"}
    assert dense.details["mapping"]["_meta"].keys() == {"medte"}
    assert dense.system["server_version"] == "9.9"
    assert dense.system["analyzer"]
    assert encoder.model == exact.model
    assert encoder.model["weights_sha256"]
    assert all(outcome.seconds["indexing"] > 0 and outcome.seconds["searching"] > 0 for outcome in (encoder, dense))
    assert not dense.notes


def test_what_is_timed_is_what_is_scored(opened: Opened, beir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    search = DenseSystem._find

    def spy(self: DenseSystem, target: Target, texts: list[str], top_k: int) -> object:
        asked.append(top_k)
        return search(self, target, texts, top_k)

    monkeypatch.setattr(DenseSystem, "_find", spy)
    outcome = evaluate(BeirRetrieval(beir, top_k=20), opened("dense"), latency_queries=3)

    assert outcome.latency is not None
    assert (outcome.latency["queries"], outcome.latency["top_k"]) == (3, 20)
    assert len(asked) > 3
    assert set(asked) == {20}


def test_scoring_given_documents_is_not_timed(opened: Opened, beir: Path) -> None:
    task = BeirRetrieval(beir)
    task.load_data()
    task.data["top_ranked"] = {query: ["gout-0", "asthma-0"] for query in task.data["queries"]["id"]}

    assert evaluate(task, opened("encoder"), latency_queries=3).latency is None


@pytest.mark.parametrize("same", [True, False])
def test_a_query_that_is_a_document_does_not_find_itself(opened: Opened, tmp_path: Path, same: bool) -> None:
    """As in ArguAna, whose queries are arguments of its corpus; ids that are equal by chance change nothing."""
    texts = {one: f"{one} is a disease that doctors often see." for one in ("gout", "asthma", "scurvy", "cholera")}
    own = {one: text if same else "Bones and joints." for one, text in texts.items()}
    rows = [{"_id": one, "title": "", "text": text} for one, text in own.items()]
    rows += [{"_id": f"{one}-2", "title": one, "text": f"Many doctors see {one}."} for one in texts]
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = [{"_id": one, "text": text} for one, text in texts.items()]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
    lines = ["query-id\tcorpus-id\tscore", *(f"{one}\t{one}-2\t1" for one in texts)]
    (tmp_path / "qrels" / "test.tsv").write_text("\n".join(lines))

    outcome = evaluate(BeirRetrieval(tmp_path), opened("encoder"))

    assert outcome.task["ignore_identical_ids"] is same
    assert outcome.scores["recall_at_1"] == 1
    assert not same or not any(query in found for query, found in outcome.items.run.items())


def test_titles_count_the_same_on_every_system(opened: Opened, beir: Path) -> None:
    encoder = evaluate(BeirRetrieval(beir), opened("encoder"))
    exact = evaluate(BeirRetrieval(beir), opened("exact"))

    assert encoder.scores == pytest.approx(exact.scores, abs=1e-6)
    assert encoder.scores["ndcg_at_10"] > 0.5
    assert encoder.counts["queries"] == 10


def test_a_title_alone_is_a_text_and_a_blank_document_none(opened: Opened, beir: Path) -> None:
    class Odd(BeirRetrieval):
        def read(self) -> Judged:
            found = super().read()
            more = [("alone", "Gout and nothing else", " "), ("blank", "", "\n")]
            return replace(found, corpus=[*found.corpus, *more])

    encoder, dense = evaluate(Odd(beir), opened("encoder")), evaluate(Odd(beir), opened("dense", quantisation="flat"))

    assert dense.items.run["0"]["alone"] == pytest.approx(encoder.items.run["0"]["alone"], abs=1e-5)
    assert "blank" not in dense.items.run["0"]
    assert dense.counts["documents"] == 31
    assert dense.notes == ("documents of the corpus that are not in the index, since their text is blank: 1",)


def test_documents_count_by_their_best_chunk(opened: Opened, medquad: Path) -> None:
    task = MedQuADRetrieval(medquad)
    exact = evaluate(task, opened("exact", quantisation="flat", chunk_tokens=12))
    dense = evaluate(task, opened("dense", quantisation="flat", chunk_tokens=12))

    assert dense.scores == pytest.approx(exact.scores, abs=1e-6)
    assert exact.counts["chunks"] > 2 * exact.counts["documents"] == 62
    assert exact.system["chunk_tokens"] == 12
    assert 0 < dense.seconds["indexing"] < exact.seconds["indexing"]  # one index for both; exact reads its vectors


def test_the_systems_find_the_same_documents_with_the_same_cosines(opened: Opened, medquad: Path) -> None:
    task = MedQuADRetrieval(medquad, queries=5)
    task.load_data()
    found = []
    for system in (opened("dense", quantisation="flat"), opened("exact", quantisation="flat")):
        assert isinstance(system, SearchProtocol)
        assert isinstance(system, EncoderProtocol)
        mteb = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default", "encode_kwargs": {}}
        system.index(task.data["corpus"], num_proc=None, **mteb)
        found.append(system.search(task.data["queries"], top_k=10, num_proc=None, **mteb))

    dense, exact = found
    assert dense.keys() == exact.keys() == set(task.data["queries"]["id"])
    for query in dense:
        assert dense[query] == pytest.approx(exact[query], abs=1e-5)
        assert len(dense[query]) == 10


def test_an_existing_index_is_searched_and_stays(
    opened: Opened, client: Elasticsearch, encoder: Encoder, index: str, medquad: Path
) -> None:
    Ingester(client, index, encoder, quantisation="flat").run(read([str(medquad)], "medquad"))

    corpus_index = CorpusIndex(client, encoder, SystemOptions(index=index))
    with closing(corpus_index):
        dense = evaluate(MedQuADRetrieval(medquad), DenseSystem(corpus_index))
        exact = evaluate(MedQuADRetrieval(medquad), ExactSystem(corpus_index))

    assert dense.scores == pytest.approx(exact.scores, abs=1e-6)
    assert dense.system["index"] == index
    assert dense.notes == (
        f"index {index} was made by es-ingest, which embeds title and content of a record; the task's own corpus is the"
        " answer alone",
    )
    assert client.count(index=index)["count"] == 31


def test_an_index_with_more_or_fewer_documents_is_told(
    opened: Opened,
    client: Elasticsearch,
    encoder: Encoder,
    index: str,
    medquad: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (medquad / "0000010.xml").rename(medquad / "later")
    Ingester(client, index, encoder).run(read([str(medquad)], "medquad"))
    (medquad / "later").rename(medquad / "0000010.xml")

    with caplog.at_level(logging.WARNING):
        outcome = evaluate(MedQuADRetrieval(medquad), opened("dense", index=index))

    assert "holds 28 of the task's 31 documents" in caplog.text
    assert f"index {index} holds 28 documents, the task's own corpus 31" in outcome.notes


def test_an_index_of_other_data_is_refused(
    opened: Opened, client: Elasticsearch, encoder: Encoder, index: str, medquad: Path, beir: Path
) -> None:
    Ingester(client, index, encoder).run(read([str(medquad)], "medquad"))

    with pytest.raises(IndexContractError, match="holds none of the task's 30 documents"):
        evaluate(BeirRetrieval(beir), opened("exact", index=index))


def test_an_index_of_another_model_is_refused(
    client: Elasticsearch, opened: Opened, encoder: Encoder, index: str, medquad: Path
) -> None:
    with pytest.raises(IndexMissingError):
        evaluate(MedQuADRetrieval(medquad), opened("dense", index=index))
    other = Encoder.load("minilm", device="cpu", precision="fp32", truncate_dim=128)
    Ingester(client, index, other).run(read([str(medquad)], "medquad"))

    with pytest.raises(FingerprintMismatchError, match="128"):
        evaluate(MedQuADRetrieval(medquad), opened("dense", index=index))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_index_is_removed_when_searching_fails(
    error: type[BaseException],
    client: Elasticsearch,
    encoder: Encoder,
    medquad: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []

    def fail(system: DenseSystem, target: Target, *_: object) -> None:
        assert client.indices.exists(index=target.index)
        made.append(target.index)
        raise error

    monkeypatch.setattr(DenseSystem, "_find", fail)
    with pytest.raises(error), closing(CorpusIndex(client, encoder, SystemOptions())) as index:
        evaluate(MedQuADRetrieval(medquad, queries=1), DenseSystem(index))

    (name,) = made
    assert not client.indices.exists(index=name)


def test_an_index_that_cannot_be_removed_hides_no_error(
    client: Elasticsearch,
    connection: Connection,
    encoder: Encoder,
    beir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = evaluation_indices(client)
    index = CorpusIndex(connection.client(), encoder, SystemOptions())
    evaluate(BeirRetrieval(beir, queries=1), DenseSystem(index))
    name = DenseSystem(index).settings()["index"]
    (left,) = evaluation_indices(client) - before

    index.client = connection.client(hosts=["http://localhost:1"], max_retries=0)
    index.close()

    assert name is None
    assert f"index {left} could not be removed (ConnectionError); the next evaluation does it" in caplog.text
    assert remove_orphans(client) == [left]


def test_a_second_task_replaces_the_index_of_the_first(
    client: Elasticsearch, opened: Opened, medquad: Path, beir: Path
) -> None:
    before = evaluation_indices(client)
    system = opened("dense")
    first = evaluate(MedQuADRetrieval(medquad, queries=2), system)
    second = evaluate(BeirRetrieval(beir, queries=2), system)

    assert (first.counts["documents"], second.counts["documents"]) == (31, 30)
    assert len(evaluation_indices(client) - before) == 1


def test_unknown_systems_and_options_are_told() -> None:
    known = "encoder, bm25, dense, exact, hybrid, pipeline:FILE.yaml"
    with pytest.raises(UnknownSystemError, match=f"unknown system 'magic'; the systems are {known}"):
        find_systems(["magic"], SystemOptions())
    with pytest.raises(UnknownSystemError, match="encoder does not take --quantisation"):
        find_systems(["encoder"], SystemOptions(quantisation="flat"))
    with pytest.raises(UnknownSystemError, match="encoder, exact does not take --num-candidates"):
        find_systems(["encoder", "exact"], SystemOptions(num_candidates=100))
    with pytest.raises(UnknownSystemError, match="bm25 does not take --oversample"):
        find_systems(["bm25"], SystemOptions(oversample=2))
    with pytest.raises(UnknownSystemError, match="an existing index has its quantisation"):
        find_systems(["dense"], SystemOptions(index="i", quantisation="flat"))
    with pytest.raises(UnknownSystemError, match=r"write pipeline:FILE\.yaml"):
        find_systems(["pipeline"], SystemOptions())
    with pytest.raises(UnknownSystemError, match="no system is named"):
        find_systems([], SystemOptions())
    chosen = find_systems(["dense", "exact", "dense"], SystemOptions(num_candidates=100))
    assert [one.name for one in chosen] == ["dense", "exact"]
