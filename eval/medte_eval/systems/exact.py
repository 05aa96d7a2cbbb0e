"""Brute force over the very vectors of an index: what a search of it is compared with."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from es_ingest.indices.vectors import stored_vectors
from medte_eval.systems.corpus import Corpus, CorpusIndex
from medte_eval.systems.system import Measured, model_meta
from medte_haystack.errors import IndexContractError
from medte_haystack.index.contract import PARENT_ID

if TYPE_CHECKING:
    from mteb.types import RetrievalOutputType

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
        stored = stored_vectors(client, searcher.index, fields=[PARENT_ID])
        for row, (hit, vector) in enumerate(stored):
            parents.append(hit["fields"][PARENT_ID][0])
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
