"""Brute force over the very vectors of an index: what a search of it is compared with."""

import base64
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from medte_eval.systems.corpus import Corpus, CorpusIndex
from medte_eval.systems.system import Measured, model_meta
from medte_haystack.errors import IndexContractError
from medte_haystack.index import Server, detect_server, run
from medte_haystack.index.contract import EMBEDDING, PARENT_ID

if TYPE_CHECKING:
    from mteb.types import RetrievalOutputType

_PAGE = 500  # documents a request: 8 MB of JSON with 768 dimensions
_KEEP_ALIVE = "5m"
_QUERIES_AT_ONCE = 128


class ExactSystem:
    """mteb's SearchProtocol over the vectors read back from an index, all held in memory; a document counts by its best
    chunk.

    :param corpus_index: The index.
    """  # noqa: D205

    name = "exact"

    def __init__(self, corpus_index: CorpusIndex) -> None:
        self.encoder = corpus_index.encoder
        self.measured = Measured()
        self.mteb_model_meta = model_meta(self.encoder)
        self._corpus_index = corpus_index
        self._used: dict[str, int] = {}
        self._documents: NDArray[np.object_] = np.empty(0, dtype=object)
        self._starts: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._vectors: NDArray[np.float32] = np.empty((0, self.encoder.dim), dtype=np.float32)

    def parameters(self) -> dict[str, Any]:
        """Return how the index is made and how it was asked; its vector index type plays no part."""
        found = self._corpus_index.describe()
        found.pop("index_options", None)
        return {**found, **self._used}

    def index(self, corpus: Corpus, **mteb: Any) -> None:  # noqa: ARG002  mteb tells the task, too
        """Make the corpus searchable and read its vectors.

        :param corpus: Rows with ``id``, ``title`` and ``text``.
        :raises FingerprintMismatchError: If a given index was made with another model.
        :raises IndexContractError: If documents were refused, or a given index has none of the corpus.
        """
        searcher, measured = self._corpus_index.open(corpus)
        started = time.perf_counter()
        client: Elasticsearch = searcher.client
        parents, vectors = [], np.empty((measured.chunks, self.encoder.dim), dtype=np.float32)
        for row, (parent, vector) in enumerate(_stored_vectors(client, searcher.index, run(client, detect_server()))):
            parents.append(parent)
            vectors[row] = vector
        if len(parents) != measured.chunks:
            raise IndexContractError(
                f"index {searcher.index!r} has {measured.chunks} chunks but gave {len(parents)} vectors; is it"
                " being written to?",
                index=searcher.index,
            )
        self._documents, codes = np.unique(np.array(parents, dtype=object), return_inverse=True)
        order = np.argsort(codes, kind="stable")  # a document's chunks side by side
        self._vectors = vectors[order]
        self._starts = np.searchsorted(codes[order], np.arange(len(self._documents)))
        spent = measured.index_seconds + time.perf_counter() - started
        self.measured = replace(measured, index_seconds=spent)

    def search(self, queries: Corpus, *, top_k: int, **mteb: Any) -> "RetrievalOutputType":  # noqa: ARG002
        """Compare every query with every vector.

        :param queries: Rows with ``id`` and ``text``.
        :param top_k: Documents a query.
        :returns: Query ids to document ids to cosines.
        """
        started = time.perf_counter()
        self._used = {"top_k": top_k}
        asked = self.encoder.encode(list(queries["text"]), "query")
        kept = min(top_k, len(self._documents))
        found: RetrievalOutputType = {}
        ids = list(queries["id"])
        for start in range(0, len(ids), _QUERIES_AT_ONCE):
            block = asked[start : start + _QUERIES_AT_ONCE]
            scores = np.maximum.reduceat(block @ self._vectors.T, self._starts, axis=1)  # (queries, documents)
            best = np.argpartition(-scores, kept - 1, axis=1)[:, :kept]
            for row, query in enumerate(ids[start : start + _QUERIES_AT_ONCE]):
                names = self._documents[best[row]]
                found[query] = dict(zip(names.tolist(), scores[row, best[row]].tolist(), strict=True))
        self.measured = replace(self.measured, search_seconds=time.perf_counter() - started)
        return found


def _stored_vectors(client: Elasticsearch, index: str, server: Server) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Read parent id and vector of every chunk, page by page, from one state of the index."""
    source: dict[str, Any] = {"includes": [PARENT_ID, EMBEDDING]}
    if server.gives_vectors_on_request:
        source["exclude_vectors"] = False
    pit = client.open_point_in_time(index=index, keep_alive=_KEEP_ALIVE)["id"]
    after: list[Any] | None = None
    try:
        while True:
            body: dict[str, Any] = {
                "pit": {"id": pit, "keep_alive": _KEEP_ALIVE},
                "size": _PAGE,
                "sort": [{"_shard_doc": "asc"}],
                "track_total_hits": False,
                "_source": source,
            }
            if after is not None:
                body["search_after"] = after
            answer = client.search(body=body)
            pit = answer["pit_id"]
            hits = answer["hits"]["hits"]
            for hit in hits:
                yield hit["_source"][PARENT_ID], _vector(hit["_source"][EMBEDDING])
            if len(hits) < _PAGE:
                return
            after = hits[-1]["sort"]
    finally:
        client.options(ignore_status=404).close_point_in_time(id=pit)


def _vector(stored: Any) -> NDArray[np.float32]:
    """Read a vector as it stands in `_source`: numbers, or base64 of big-endian float32 where that was sent."""
    if isinstance(stored, str):
        return np.frombuffer(base64.b64decode(stored), dtype=">f4").astype(np.float32)
    return np.asarray(stored, dtype=np.float32)
