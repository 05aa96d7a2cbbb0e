"""What each way is worth: nDCG@10 on a BEIR data set, by vectors, by words, and by both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytrec_eval

from bench.search.corpus import Passages, encoded
from bench.search.indices import make_index
from bench.search.ways import DENSE, HYBRID, WORDS
from es_ingest.cluster import Connection
from medte_eval.sources.beir import BeirSet, read_beir
from medte_haystack import Encoder, MedTEDocumentStore, MedTEEmbeddingRetriever, MedTEHybridRetriever
from medte_haystack.errors import SearchError
from medte_haystack.retrieval import FUSIONS

_TOP_K = 10
_MEASURE = "ndcg_cut_10"


def measure(connection: Connection, folder: Path, encoder: Encoder, quantisation: str) -> list[dict[str, Any]]:
    """Search with every judged query and return a row a way.

    :raises ReadError: If the folder is no BEIR data set.
    """
    data = read_beir(folder)
    queries = list(data.queries.values())
    vectors = encoded(encoder, queries, "query")
    with connection.client(request_timeout=300) as client:
        index, _ = make_index(client, Passages.of(data.corpus, encoder), quantisation)
    store = MedTEDocumentStore(**connection.client_options(), index=index)
    dense = MedTEEmbeddingRetriever(document_store=store, top_k=_TOP_K, collapse=True)
    hybrid = MedTEHybridRetriever(document_store=store, top_k=_TOP_K)
    ways = {
        DENSE: lambda: dense.run_batch(vectors),
        WORDS: lambda: hybrid.run_batch(queries, vectors, fusion="weighted", weights=[0, 1]),
        **{
            f"{HYBRID}, {fusion}": lambda fusion=fusion: hybrid.run_batch(queries, vectors, fusion=fusion)
            for fusion in FUSIONS
        },
    }
    rows: list[dict[str, Any]] = []
    for name, search in ways.items():
        try:
            found = search()["documents"]
        except SearchError as error:  # a fusion that this server lacks
            rows.append({"name": name, "not_run": str(error)})
            continue
        rows.append({"name": name, "ndcg_at_10": ndcg(data, [[one.meta["parent_id"] for one in own] for own in found])})
    store.close()
    return rows


def ndcg(data: BeirSet, found: Sequence[Sequence[str]]) -> float:
    """Return the mean nDCG@10.

    :param found: Ids of the documents found for each query, the best first, in the order of the data's queries.
    """
    ranked = {
        query: {document: float(len(own) - rank) for rank, document in enumerate(own)}
        for query, own in zip(data.queries, found, strict=True)
    }
    judged = {query: dict(its) for query, its in data.relevant.items()}
    scores = pytrec_eval.RelevanceEvaluator(judged, {_MEASURE}).evaluate(ranked)
    return sum(one[_MEASURE] for one in scores.values()) / len(data.queries)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a plain table."""
    lines = [f"{'':44}{'nDCG@10':>9}"]
    lines += [
        f"{row['name']:44}" + (f"  not run: {row['not_run']:.100}" if "not_run" in row else f"{row['ndcg_at_10']:9.4f}")
        for row in rows
    ]
    return "\n".join(lines)
