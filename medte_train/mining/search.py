"""The ways to look for near texts: exactly in memory, or in an index of Elasticsearch made for it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch
from numpy.typing import NDArray

from es_ingest.ingest import Ingester
from es_ingest.records import Record
from medte_eval.systems.ownership import Owner, remove_orphans
from medte_haystack.errors import IndexContractError
from medte_haystack.index import Fingerprint, describe_index, detect_server, run
from medte_haystack.index.contract import PARENT_ID
from medte_haystack.retrieval import SearchOptions, SharedOptions, Target, find_dense
from medte_haystack.training.nearest import Ids, Scores, nearest

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float32]
Find = Callable[[Vectors, int], tuple[Ids, Scores]]
"""Queries, shape (n, dim), and how many -> row numbers and cosines, nearest first, both of shape (n, k).

A row that was not found has the number -1.
"""


class Search(Protocol):
    """A way to look for near vectors."""

    def describe(self) -> dict[str, Any]:
        """Return what decides its results."""
        ...

    def over(self, vectors: Vectors) -> AbstractContextManager[Find]:
        """Make vectors searchable, unit ones of shape (m, dim)."""
        ...


@dataclass(frozen=True, slots=True)
class ExactSearch:
    """Compares each query with all vectors.

    :param device: Where it is computed.
    """

    device: str = "cpu"

    def describe(self) -> dict[str, Any]:
        """Return what decides its results."""
        return {"search": "exact"}

    @contextmanager
    def over(self, vectors: Vectors) -> Iterator[Find]:
        """Make vectors searchable."""
        yield lambda queries, k: nearest(queries, vectors, k, self.device)


@dataclass(frozen=True, slots=True)
class ElasticsearchSearch:
    """kNN search in an index of vectors alone, which is removed afterwards. Cosines are those of the floats.

    :param client: The server; what killed processes left there is removed.
    :param made_by: Fingerprint of the vectors.
    :param quantisation: Vector index type.
    """

    client: Elasticsearch
    made_by: Fingerprint
    quantisation: str

    def describe(self) -> dict[str, Any]:
        """Return what decides its results."""
        return {"search": "elasticsearch", "quantisation": self.quantisation}

    @contextmanager
    def over(self, vectors: Vectors) -> Iterator[Find]:
        """Make vectors searchable.

        :raises IndexContractError: If the server refuses some of them.
        :raises SearchError: If it refuses or does not answer a search.
        """
        remove_orphans(self.client)
        owner = Owner()
        name, mark = owner.new_name(), owner.mark()
        try:
            self._write(name, vectors, mark)
            target = _Ids(name, run(self.client, describe_index(name)), run(self.client, detect_server()))
            yield lambda queries, k: self._find(target, queries, k, vectors)
        finally:
            owner.close(left=not self._remove(name))

    def _write(self, name: str, vectors: Vectors, mark: dict[str, Any]) -> None:
        ingester = Ingester(
            self.client, name, None, vectors_by=self.made_by, quantisation=self.quantisation, replicas=0, meta=mark
        )
        summary = ingester.run(
            Record(str(row), "", str(row), {}, f"text {row}", vector) for row, vector in enumerate(vectors)
        )
        if summary.failed:
            raise IndexContractError(
                f"{summary.failed} vectors were refused, so negatives would be missed; see the warnings",
                failed=summary.failed,
            )

    def _find(self, target: Target, queries: Vectors, k: int, vectors: Vectors) -> tuple[Ids, Scores]:
        found = run(self.client, find_dense(target, list(queries), None, SearchOptions(top_k=k)))
        ids = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        for own, hits in enumerate(found):
            rows = np.array([int(hit["_source"][PARENT_ID]) for hit in hits], dtype=np.int32)
            cosines = vectors[rows] @ queries[own]
            order = np.lexsort((rows, -cosines))
            ids[own, : len(rows)], scores[own, : len(rows)] = rows[order], cosines[order]
        return ids, scores

    def _remove(self, name: str) -> bool:
        try:
            self.client.options(ignore_status=404).indices.delete(index=name)
        except (ApiError, TransportError) as error:  # must not hide the error that may have led here
            logger.warning("index %s could not be removed (%s); the next mining does it", name, type(error).__name__)
            return False
        return True


class _Ids(Target):
    """A target whose hits come with no more than the ids of their records."""

    def shown(self, options: SharedOptions) -> dict[str, Any]:  # noqa: ARG002
        return {"_source": [PARENT_ID]}
