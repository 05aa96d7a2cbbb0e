"""BM25 and hybrid search as systems, against the retrievers that users run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from es_ingest.cluster import Connection
from es_ingest.ingest import Ingester
from es_ingest.records import Record
from medte_eval.run import evaluate
from medte_eval.systems import UnknownSystemError
from medte_eval.systems.system import System
from medte_eval.tasks.beir import BeirRetrieval
from medte_eval.tasks.medquad import MedQuADRetrieval
from medte_eval.tasks.retrieval import Judged
from medte_haystack import MedTEDocumentStore, MedTEHybridRetriever
from medte_haystack.encoder import Encoder
from medte_haystack.errors import IndexContractError

Opened = Callable[..., System]


def test_bm25_searches_whole_documents_without_a_model(opened: Opened, medquad: Path) -> None:
    outcome = evaluate(MedQuADRetrieval(medquad), opened("bm25"), latency_queries=7)

    assert outcome.counts == {"queries": 31, "documents": 31, "chunks": 31, "truncated": 0, "left_out": 0}
    assert outcome.scores["recall_at_10"] > 0.9
    assert outcome.model == {"name": None}
    assert "embedding" not in outcome.details["mapping"]["properties"]
    assert outcome.system["analyzer"] == outcome.details["mapping"]["properties"]["content"]["analyzer"]
    assert outcome.latency is not None
    assert outcome.latency["queries"] == 7
    assert 0 < outcome.latency["p50_ms"] <= outcome.latency["p99_ms"]


def test_bm25_takes_a_document_by_its_best_chunk(opened: Opened, medquad: Path) -> None:
    chunks = evaluate(MedQuADRetrieval(medquad), opened("bm25", chunk_tokens=12))

    assert chunks.counts["chunks"] > 2 * chunks.counts["documents"] == 62
    assert all(len(found) <= 31 for found in chunks.items.run.values())
    assert chunks.scores["recall_at_10"] > 0.8


def test_words_are_cut_as_the_chosen_analyzer_does(opened: Opened, medquad: Path) -> None:
    for name in ("bm25", "hybrid"):
        outcome = evaluate(MedQuADRetrieval(medquad), opened(name, analyzer="whitespace"))

        assert outcome.system["analyzer"] == "whitespace"
        assert outcome.details["mapping"]["properties"]["content"]["analyzer"] == "whitespace"
    with pytest.raises(IndexContractError, match="the server has no analyzer 'klingon'; it has standard"):
        opened("bm25", analyzer="klingon").settings()


@pytest.mark.parametrize("fusion", ["min_max", "rrf", "weighted"])
def test_hybrid_finds_what_the_retriever_finds(
    opened: Opened, client: Elasticsearch, connection: Connection, encoder: Encoder, index: str, beir: Path, fusion: str
) -> None:
    task = BeirRetrieval(beir, top_k=10)
    outcome = evaluate(task, opened("hybrid", fusion=fusion, weights=(0.7, 0.3)))

    records = [Record(row["id"], row["title"], row["text"], {}, row["id"]) for row in task.data["corpus"]]
    Ingester(client, index, encoder).run(records)
    store = MedTEDocumentStore(**connection.client_options(), index=index)
    retriever = MedTEHybridRetriever(
        document_store=store, model="minilm", top_k=10, fusion=fusion, weights=[0.7, 0.3], collapse=True
    )
    queries = task.data["queries"]
    vectors = encoder.encode(list(queries["text"]), "query")
    found = retriever.run_batch(list(queries["text"]), vectors)["documents"]
    store.close()

    for query, documents in zip(queries["id"], found, strict=True):
        expected = {one.meta["parent_id"]: one.score for one in documents}
        assert outcome.items.run[query] == pytest.approx(expected, rel=1e-4)
    assert (outcome.system["fusion"], outcome.system["weights"]) == (fusion, [0.7, 0.3])
    assert outcome.details["num_candidates"] == 100


def test_a_blank_query_is_answered_by_the_vectors_alone(opened: Opened, beir: Path) -> None:
    class WithBlank(BeirRetrieval):
        def read(self) -> Judged:
            found = super().read()
            return replace(found, queries={**found.queries, "0": " "})

    hybrid, bm25 = evaluate(WithBlank(beir), opened("hybrid")), evaluate(WithBlank(beir), opened("bm25"))

    assert hybrid.items.run["0"]
    assert not bm25.items.run["0"]
    assert [row["ndcg_at_10"] for row in bm25.items.rows if row["id"] == "0"] == [0.0]


def test_wrong_numbers_are_refused_before_anything_is_indexed(opened: Opened) -> None:
    with pytest.raises(UnknownSystemError, match="fusion 'magic' is unknown"):
        opened("hybrid", fusion="magic")
    with pytest.raises(UnknownSystemError, match="give two numbers"):
        opened("hybrid", weights=(0.0, 0.0))
