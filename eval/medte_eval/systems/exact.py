"""Brute force over the very vectors of an index: what a search of it is compared with."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_ingest.indices.vectors import stored_vectors
from medte_eval.systems.corpus import Corpus, CorpusIndex
from medte_eval.systems.searching import Scores, SearchSystem
from medte_eval.systems.system import ShowProgress, silent
from medte_haystack.errors import IndexContractError
from medte_haystack.index.contract import PARENT_ID

_QUERIES_AT_ONCE = 128


class ExactSystem(SearchSystem):
    """The vectors read back from an index, all held in memory; a document counts by its best chunk.

    :param index: The index.
    :param show: Shows how far encoding is, where nothing is indexed.
    """

    name = "exact"
    least = -1.0
    encoder: Any

    def __init__(self, index: CorpusIndex, show: ShowProgress = silent) -> None:
        super().__init__(index, index.encoder, show)
        self._documents: NDArray[np.object_] = np.empty(0, dtype=object)
        self._starts: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._vectors: NDArray[np.float32] = np.empty((0, index.encoder.dim), dtype=np.float32)

    def settings(self) -> dict[str, Any]:
        """Return how the index is made; its vector index type plays no part."""
        found = super().settings()
        found.pop("index_options")
        return found

    def index(self, corpus: Corpus, **mteb: Any) -> None:
        """Make the corpus searchable and read its vectors; see :meth:`SearchSystem.index`."""
        before = self.measured.chunks
        super().index(corpus, **mteb)
        assert self._target is not None  # noqa: S101  the line above made it
        chunks, name = self.measured.chunks - before, self._target.index
        started = time.perf_counter()
        parents, vectors = [], np.empty((chunks, self.encoder.dim), dtype=np.float32)
        for row, (hit, vector) in enumerate(stored_vectors(self._index.client, name, fields=[PARENT_ID])):
            parents.append(hit["fields"][PARENT_ID][0])
            vectors[row] = vector
        if len(parents) != chunks:
            raise IndexContractError(
                f"index {name!r} has {chunks} chunks but gave {len(parents)} vectors; is it being written to?",
                index=name,
            )
        self._documents, codes = np.unique(np.array(parents, dtype=object), return_inverse=True)
        order = np.argsort(codes, kind="stable")  # a document's chunks side by side
        self._vectors = vectors[order]
        self._starts = np.searchsorted(codes[order], np.arange(len(self._documents)))
        spent = self.measured.index_seconds + time.perf_counter() - started
        self.measured = replace(self.measured, index_seconds=spent)

    def scoring(self) -> str:
        """Return how the score of a pair is made."""
        return "cosine with the second text's vector as the index gives it back, computed here"

    def answer(self, text: str, top_k: int) -> None:
        """Answer one query."""
        self.find([text], top_k)

    def find(self, texts: Sequence[str], top_k: int) -> list[Scores]:
        """Return the best documents of each query, compared with every vector."""
        asked = self.encoder.encode(texts, "query")
        kept = min(top_k, len(self._documents))
        found: list[Scores] = []
        for start in range(0, len(texts), _QUERIES_AT_ONCE):
            scores = self._cosines(asked[start : start + _QUERIES_AT_ONCE])
            best = np.argpartition(-scores, kept - 1, axis=1)[:, :kept]
            for own, names in zip(scores, best, strict=True):
                found.append(dict(zip(self._documents[names].tolist(), own[names].tolist(), strict=True)))
        return found

    def rate(self, texts: Sequence[str], wanted: Sequence[Sequence[str]]) -> list[Scores]:
        """Return the score of each wanted document of each query."""
        asked = self.encoder.encode(texts, "query")
        rows = {name: row for row, name in enumerate(self._documents)}
        found: list[Scores] = []
        for start in range(0, len(texts), _QUERIES_AT_ONCE):
            scores = self._cosines(asked[start : start + _QUERIES_AT_ONCE])
            for own, names in zip(scores, wanted[start : start + _QUERIES_AT_ONCE], strict=True):
                found.append({name: float(own[rows[name]]) if name in rows else self.least for name in names})
        return found

    def _cosines(self, asked: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the cosines of queries and documents, shape (queries, documents)."""
        return np.maximum.reduceat(asked @ self._vectors.T, self._starts, axis=1)
