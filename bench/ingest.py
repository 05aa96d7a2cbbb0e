"""Writing ready-made vectors: es-ingest beside what people use, into the same kind of index of one server.

Every way reads the same texts and vectors, writes into an index made beforehand, and ends when all is searchable. The
slow ones may be given fewer documents (``--slow``); that flatters them, since a vector graph takes longer as it grows.
es-ingest leaves the graph to the server, which builds it afterwards (`es_ingest.indices.graph`); how long it takes
until that is done, and until the server rests after `parallel_bulk`, is measured once at the end.
"""

import base64
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk, parallel_bulk
from numpy.typing import NDArray

from bench.alternating import parser, take_turns
from es_ingest.cluster import Connection, open_cluster
from es_ingest.cluster.node import InfoNode
from es_ingest.indices.graph import await_graph
from es_ingest.ingest import Ingester, RunOptions
from es_ingest.records import Record
from es_ingest.tuning.copies import segments
from medte_haystack.index import Fingerprint, IndexSpec, detect_server, open_index, run

DIM = 768
_INDEX = "bench"
_MADE_BY = Fingerprint(model="made-up", dim=DIM, pooling="mean")
_PARALLEL = [(2, 500), (4, 500), (4, 1000), (8, 500)]  # threads and documents a request that are tried
_TRIED = 10_000  # documents


@dataclass(frozen=True)
class Field:
    """Where everything is written.

    :param connection: The server.
    :param client: A client of it.
    :param vectors: Shape (documents, dim), float32, unit length.
    :param folder: For ledgers.
    :param quantisation: Of the index.
    """

    connection: Connection
    client: Elasticsearch
    vectors: NDArray[np.float32]
    folder: Path
    quantisation: str

    def make_index(self, *, refreshed: bool = False) -> None:
        """Make the index anew, as es-ingest does, without replicas.

        :param refreshed: Whether the server refreshes it, for what waits for that.
        """
        self.client.options(ignore_status=404).indices.delete(index=_INDEX)
        server = run(self.client, detect_server())
        run(self.client, open_index(_INDEX, IndexSpec(_MADE_BY, self.quantisation), server))
        loading = {"index.refresh_interval": None if refreshed else "-1", "index.number_of_replicas": 0}
        self.client.indices.put_settings(index=_INDEX, settings=loading)

    def check(self, number: int) -> None:
        """Make everything searchable and check that it is there."""
        self.client.indices.refresh(index=_INDEX)
        found = self.client.count(index=_INDEX)["count"]
        if found != number:
            raise AssertionError(f"{found} documents are there, not {number}")

    def body(self, number: int, vector: Any) -> dict[str, Any]:
        """Return a document."""
        name = f"d{number}"
        text = f"document {number}"
        place = {"id": f"{name}#0", "parent_id": name, "chunk_index": 0, "chunk_start": 0, "chunk_end": len(text)}
        return {**place, "content": text, "embedding": vector}

    def actions(self, number: int, *, as_base64: bool) -> Iterator[dict[str, Any]]:
        """Yield documents as elasticsearch-py's helpers take them."""
        for n in range(number):
            vector = self.vectors[n]
            sent = base64.b64encode(vector.astype(">f4").tobytes()).decode() if as_base64 else vector.tolist()
            body = self.body(n, sent)
            yield {"_index": _INDEX, "_id": body["id"], "_source": body}


def es_ingest(field: Field, number: int) -> None:
    """Write as `es-ingest run` does, ledger included."""
    for file in field.folder.glob("ledger*"):
        file.unlink()
    field.client.options(ignore_status=404).indices.delete(index=_INDEX)
    records = (Record(f"d{n}", "", f"document {n}", {}, f"made:{n}", field.vectors[n]) for n in range(number))
    ingester = Ingester(field.client, _INDEX, None, vectors_by=_MADE_BY, quantisation=field.quantisation)
    summary = ingester.run(records, None, RunOptions(ledger=field.folder / "ledger"))
    if summary.records != number:
        raise AssertionError(summary)


def helpers_bulk(field: Field, number: int) -> None:
    """Write with elasticsearch-py's `bulk`, vectors as lists."""
    field.make_index()
    bulk(field.client, field.actions(number, as_base64=False))


def hand_tuned(field: Field, number: int, threads: int, size: int) -> None:
    """Write with elasticsearch-py's `parallel_bulk` and base64."""
    field.make_index()
    for done, _ in parallel_bulk(
        field.client, field.actions(number, as_base64=True), thread_count=threads, chunk_size=size
    ):
        if not done:
            raise AssertionError("refused")


def haystack(field: Field, number: int) -> None:
    """Write with Haystack's ElasticsearchDocumentStore."""
    from haystack import Document
    from haystack.document_stores.types import DuplicatePolicy
    from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

    field.make_index(refreshed=True)
    store = ElasticsearchDocumentStore(hosts=field.connection.url, index=_INDEX, node_class=InfoNode)
    documents = [
        Document(id=f"d{n}", content=f"document {n}", embedding=field.vectors[n].tolist()) for n in range(number)
    ]
    store.write_documents(documents, DuplicatePolicy.OVERWRITE)
    store.close()


def langchain(field: Field, number: int) -> None:
    """Write with langchain-elasticsearch."""
    from langchain_elasticsearch import ElasticsearchStore

    field.make_index()
    store = ElasticsearchStore(_INDEX, client=field.client, vector_query_field="embedding", query_field="content")
    pairs = ((f"document {n}", field.vectors[n].tolist()) for n in range(number))
    store.add_embeddings(pairs, ids=[f"d{n}" for n in range(number)], create_index_if_not_exists=False)


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--documents", type=int, default=50_000)
    options.add_argument("--slow", type=int, default=5_000, help="documents of the ways that send lists of numbers")
    options.add_argument("--quantisation", default="int8")
    chosen = options.parse_args(arguments)
    vectors = np.random.default_rng(0).standard_normal((chosen.documents, DIM), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with (
        open_cluster(ephemeral=True, heap="2g") as connection,
        connection.client(request_timeout=300) as client,
        TemporaryDirectory() as folder,
    ):
        field = Field(connection, client, vectors, Path(folder), chosen.quantisation)
        rows = measure(field, chosen.documents, min(chosen.slow, chosen.documents), chosen.rounds)
    print(f"\n{chosen.documents:,} documents, {DIM}-d vectors, {chosen.quantisation}; medians of {chosen.rounds}")
    print(f"{'':52}{'documents':>10}{'documents/s':>13}{'ratio':>8}")
    for row in rows:
        print(f"{row['name']:52}{row['documents']:10,}{row['documents_per_second']:13,.0f}{row['ratio']:8.2f}")
    for row in rows:
        if "at_rest_seconds" in row:
            print(f"{row['name']}: {row['at_rest_seconds']:.0f} s until the server rests, {row['segments']} segments")
    if chosen.json is not None:
        figures = {"quantisation": chosen.quantisation, "dim": DIM, "rows": rows}
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(field: Field, many: int, few: int, rounds: int) -> list[dict[str, Any]]:
    """Run all ways in turns; return a row of each, ratios to Haystack's."""
    threads, size = _best_parallel(field, min(many, _TRIED))
    ways: dict[str, tuple[int, Callable[[Field, int], None]]] = {
        "haystack ElasticsearchDocumentStore": (few, haystack),
        "langchain-elasticsearch": (few, langchain),
        "elasticsearch-py helpers.bulk": (few, helpers_bulk),
        f"parallel_bulk by hand, {threads} threads of {size}": (
            many,
            lambda field, number: hand_tuned(field, number, threads, size),
        ),
        "es-ingest": (many, es_ingest),
    }

    def turn(number: int, way: Callable[[Field, int], None]) -> Callable[[], None]:
        def work() -> None:
            way(field, number)
            field.check(number)

        return work

    seconds = take_turns({name: turn(*one) for name, one in ways.items()}, rounds)
    rested = {name: _until_at_rest(field, *ways[name]) for name in list(ways)[-2:]}
    rates = {name: ways[name][0] / median(times) for name, times in seconds.items()}
    first = next(iter(rates.values()))
    return [
        {
            "name": name,
            "documents": ways[name][0],
            "documents_per_second": rate,
            "ratio": rate / first,
            "seconds": seconds[name],
            **rested.get(name, {}),
        }
        for name, rate in rates.items()
    ]


def _until_at_rest(field: Field, number: int, way: Callable[[Field, int], None]) -> dict[str, float]:
    started = time.perf_counter()
    way(field, number)
    field.check(number)
    await_graph(field.client, _INDEX)
    while field.client.indices.stats(index=_INDEX, metric="merge")["_all"]["primaries"]["merges"]["current"]:
        time.sleep(0.2)
    return {"at_rest_seconds": time.perf_counter() - started, "segments": segments(field.client, _INDEX)}


def _best_parallel(field: Field, number: int) -> tuple[int, int]:
    """Return the threads and the size of requests with which `parallel_bulk` is fastest here."""
    ways = {one: (lambda one=one: (hand_tuned(field, number, *one), field.check(number))) for one in _PARALLEL}
    seconds = take_turns(ways, 2)  # type: ignore[arg-type]
    return min(_PARALLEL, key=lambda one: median(seconds[one]))  # type: ignore[index]


if __name__ == "__main__":
    main(sys.argv[1:])
