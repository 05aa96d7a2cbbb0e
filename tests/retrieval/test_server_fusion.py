"""Searches that a server with the licence fuses itself, answered in its place."""

from types import SimpleNamespace

import numpy as np
import orjson
import pytest
from elasticsearch import ApiError

from medte_haystack.errors import IndexContractError, SearchError
from medte_haystack.index import IndexInfo, Server, run
from medte_haystack.retrieval import HybridOptions, Question, Target, find_hybrid
from medte_haystack.retrieval.hybrid import server_body

QUESTION = Question("kidney stones", np.array([0.6, 0.8], dtype=np.float32))
FILTER = {"term": {"source": "NIDDK"}}
FIELDS = ["content", "title.text"]

WORDS = {"combined_fields": {"query": "kidney stones", "fields": FIELDS}}


def target(version=(9, 2, 0), *, documents=True):
    fields = {"content": "text", **({"parent_id": "keyword"} if documents else {})}
    return Target("notes", IndexInfo("notes", 2, "dot_product", "hnsw", None, fields), Server(version))


def knn(k, **more):
    vector = [pytest.approx(0.6), pytest.approx(0.8)]
    return {"knn": {"field": "embedding", "query_vector": vector, "k": k, "num_candidates": 100, **more}}


def body(chunks=20, filters=None, *, documents=True, **options):
    options = HybridOptions(**{"collapse": None, **options})
    return server_body(target(documents=documents), QUESTION, filters, options, FIELDS, chunks)


def test_reciprocal_ranks():
    assert body(fusion="server_rrf", documents=False) == {
        "retriever": {
            "rrf": {
                "retrievers": [knn(20), {"standard": {"query": WORDS}}],
                "rank_window_size": 20,
                "rank_constant": 60,
            }
        },
        "size": 10,
        "_source": {"excludes": ["embedding"]},
    }


def test_reciprocal_ranks_with_weights():
    found = body(fusion="server_rrf", weights=[0.7, 0.3])
    assert found["retriever"]["rrf"]["retrievers"] == [
        {"retriever": knn(20), "weight": 0.7},
        {"retriever": {"standard": {"query": WORDS}}, "weight": 0.3},
    ]


def test_scores_with_a_filter_on_both_sides():
    found = body(fusion="server_linear", filters=FILTER)
    words = {"standard": {"query": {"bool": {"must": [WORDS], "filter": [FILTER]}}}}
    assert found["retriever"] == {
        "linear": {
            "retrievers": [
                {"retriever": knn(20, filter=FILTER), "weight": 0.6, "normalizer": "minmax"},
                {"retriever": words, "weight": 0.4, "normalizer": "minmax"},
            ],
            "rank_window_size": 20,
        }
    }


@pytest.mark.parametrize("fusion", ["server_rrf", "server_linear"])
def test_more_chunks_are_more_of_both_sides(fusion):
    found = body(80, fusion=fusion)
    assert found["retriever"][fusion.removeprefix("server_")]["rank_window_size"] == found["size"] == 80
    assert "collapse" not in found


class Answers:
    """A server that has chunks of two documents before others."""

    def __init__(self):
        self.sizes = []

    def options(self, **_):
        return self

    def perform_request(self, method, path, *, headers, body):
        size = orjson.loads(body)["size"]
        self.sizes.append(size)
        names = [f"d{number % 2 if number < 60 else number}" for number in range(size)]
        sources = [{"parent_id": name} if name < "d7" else {} for name in names]
        hits = [
            {"_id": f"c{number}", "_score": 1 - number / 1000, "_source": source}
            for number, source in enumerate(sources)
        ]
        return SimpleNamespace(body={"took": 1, "hits": {"hits": hits}})


def test_it_is_asked_for_more_chunks_until_there_are_enough_documents():
    server = Answers()
    steps = find_hybrid(target(), [QUESTION], None, HybridOptions(collapse=True, fusion="server_rrf"), FIELDS)
    (found,) = run(server, steps)
    assert server.sizes == [20, 80]
    assert [one["_id"] for one in found] == ["c0", "c1", *(f"c{number}" for number in range(60, 68))]
    assert {one["retrieval"]["fusion"] for one in found} == {"server_rrf"}


@pytest.mark.parametrize(
    ("version", "options", "says"),
    [
        (
            (8, 15, 3),
            {"fusion": "server_rrf"},
            r"'server_rrf' needs Elasticsearch 8\.16, this is 8\.15\.3; fusion='rrf'",
        ),
        ((9, 1, 0), {"fusion": "server_rrf", "weights": [1, 2]}, r"'server_rrf' with weights needs Elasticsearch 9\.2"),
        ((8, 17, 0), {"fusion": "server_linear"}, r"'server_linear' needs Elasticsearch 8\.18, .* fusion='min_max'"),
    ],
)
def test_a_server_that_is_too_old_is_not_asked(version, options, says):
    with pytest.raises(IndexContractError, match=says):
        run(None, find_hybrid(target(version), [QUESTION], None, HybridOptions(**options), FIELDS))


@pytest.mark.parametrize(
    ("status", "reason", "lacking"),
    [
        (400, "unknown retriever [rrf]", True),
        (403, "current license is non-compliant for [Reciprocal Rank Fusion (RRF)]", True),
        (400, 'For input string: "many"', False),
        (403, "action [indices:data/read/search] is unauthorized", False),
    ],
)
def test_only_a_server_that_lacks_the_retriever_is_said_to(status, reason, lacking):
    error = ApiError("no", meta=SimpleNamespace(status=status), body={"error": {"type": "t", "reason": reason}})

    def refuse(*_, **__):
        raise error

    client = type("Client", (), {"options": lambda self, **_: SimpleNamespace(perform_request=refuse)})()
    with pytest.raises(SearchError) as caught:
        run(client, find_hybrid(target(), [QUESTION], None, HybridOptions(fusion="server_rrf"), FIELDS))
    assert ("Enterprise licence" in str(caught.value)) == lacking
    assert caught.value.status == status
