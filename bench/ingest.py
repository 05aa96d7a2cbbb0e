"""Writing ready-made vectors: es-ingest beside what people use, into the same kind of index of one server.

Every way reads the same texts and vectors, writes into an index made beforehand, and is timed twice: until all is
searchable, and until the server rests, which is until merges, and the graph of the vectors, are done. es-ingest leaves
that graph to the server, which builds it once after loading (`es_ingest.indices.graph`). The next way begins when the
server rests. The slow ones may be given fewer documents (``--slow``); that flatters them, since a vector graph takes
longer as it grows.
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

from bench.alternating import in_turn, parser, take_turns
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
_LOOK = 0.1  # seconds
_QUIET = 0.5  # seconds in which it merges nothing: one merge may lead to another


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

    def rest(self) -> float:
        """Wait until the server has nothing more to do for the index; return since when, by `time.perf_counter`."""
        await_graph(self.client, _INDEX)
        since = time.perf_counter()
        while time.perf_counter() - since < _QUIET:
            if self.client.indices.stats(index=_INDEX, metric="merge")["_all"]["primaries"]["merges"]["current"]:
                since = time.perf_counter()
            time.sleep(_LOOK)
        return since

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
    print(f"{'':44}{'documents':>10}{'searchable/s':>14}{'ratio':>7}{'at rest/s':>11}{'ratio':>7}{'segments':>10}")
    for row in rows:
        print(
            f"{row['name']:44}{row['documents']:10,}{row['searchable_per_second']:14,.0f}{row['searchable_ratio']:7.2f}"
            f"{row['at_rest_per_second']:11,.0f}{row['at_rest_ratio']:7.2f}{row['segments'][-1]:10}"
        )
    if chosen.json is not None:
        figures = {"quantisation": chosen.quantisation, "dim": DIM, "rows": rows}
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(field: Field, many: int, few: int, rounds: int) -> list[dict[str, Any]]:
    """Run all ways in turns; return a row of each, with ratios to Haystack's."""
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

    searchable: dict[str, list[float]] = {name: [] for name in ways}
    at_rest: dict[str, list[float]] = {name: [] for name in ways}
    left: dict[str, list[int]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in in_turn(ways, number):
            documents, way = ways[name]
            started = time.perf_counter()
            way(field, documents)
            field.check(documents)
            searchable[name].append(time.perf_counter() - started)
            at_rest[name].append(field.rest() - started)
            left[name].append(segments(field.client, _INDEX))
    rows = [
        {
            "name": name,
            "documents": documents,
            "searchable_per_second": documents / median(searchable[name]),
            "at_rest_per_second": documents / median(at_rest[name]),
            "searchable_seconds": searchable[name],
            "at_rest_seconds": at_rest[name],
            "segments": left[name],
        }
        for name, (documents, _) in ways.items()
    ]
    for row in rows:
        for kind in ("searchable", "at_rest"):
            row[f"{kind}_ratio"] = row[f"{kind}_per_second"] / rows[0][f"{kind}_per_second"]
    return rows


def _best_parallel(field: Field, number: int) -> tuple[int, int]:
    """Return the threads and the size of requests with which `parallel_bulk` is fastest here."""
    ways = {one: (lambda one=one: (hand_tuned(field, number, *one), field.check(number))) for one in _PARALLEL}
    seconds = take_turns(ways, 2)  # type: ignore[arg-type]
    return min(_PARALLEL, key=lambda one: median(seconds[one]))  # type: ignore[index]


if __name__ == "__main__":
    main(sys.argv[1:])
