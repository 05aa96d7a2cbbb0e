"""Dense search on a real Elasticsearch, by the code that users run."""

from collections.abc import Sequence
from typing import Any

from medte_eval.systems.corpus import CorpusIndex
from medte_eval.systems.searching import ServerSystem, room_for
from medte_eval.systems.system import ShowProgress, silent
from medte_haystack.index import default_oversampling, run
from medte_haystack.index.contract import EMBEDDING
from medte_haystack.index.mapping import oversampling_of, quantisation_of
from medte_haystack.retrieval import Hit, SearchOptions, Target, find_dense
from medte_haystack.retrieval.dense import dense_body


class DenseSystem(ServerSystem):
    """Documents by their vectors or best chunks, as `es-ingest search` and `MedTEEmbeddingRetriever` find them.

    :param index: The index.
    :param num_candidates: Candidates that a shard looks at, at least; None takes ten a document asked for.
    :param oversample: How many times the hits quantised vectors are compared again as floats; None leaves it to the
        index.
    :param show: Shows how far encoding is, where nothing is indexed.
    """

    name = "dense"
    least = -1.0

    def __init__(
        self,
        index: CorpusIndex,
        *,
        num_candidates: int | None = None,
        oversample: float | None = None,
        show: ShowProgress = silent,
    ) -> None:
        super().__init__(index, index.encoder, show)
        self._given_candidates = num_candidates
        self._oversample = oversample

    def settings(self) -> dict[str, Any]:
        """Return how the index is made and how it is asked."""
        return {**super().settings(), "num_candidates": self._given_candidates, "oversample": self._oversample}

    def details(self) -> dict[str, Any]:
        """Return what the index has become and what was asked of it."""
        return self._with_candidates(self._given_candidates)

    def scoring(self) -> str:
        """Return how the score of a pair is made: the server tells what the index does unless it is asked otherwise."""
        mapping = self.details()["mapping"]
        factor = self._oversample
        if factor is None:
            factor = oversampling_of(mapping)
        if factor is None:
            factor = default_oversampling(quantisation_of(mapping))
        kind = mapping["properties"][EMBEDDING]["index_options"]["type"]
        again = f"then compared again as floats (oversample {factor:g})" if factor else "not compared again as floats"
        return f"a kNN search of the first text for exactly the second; vectors as {kind}, {again}"

    def _options(self, top_k: int) -> SearchOptions:
        candidates = None if self._given_candidates is None else max(self._given_candidates, top_k)
        return SearchOptions(top_k=top_k, num_candidates=candidates, oversample=self._oversample, collapse=True)

    def _find(self, target: Target, texts: Sequence[str], top_k: int) -> list[list[Hit]]:
        return run(self._index.client, find_dense(target, self._vectors(texts), None, self._options(top_k)))

    def _bodies(self, target: Target, texts: Sequence[str], among: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        bodies = []
        for vector, its in zip(self._vectors(texts), among, strict=True):
            chunks, size = room_for(its)
            bodies.append(dense_body(target, vector, its, self._options(size), chunks=chunks))
        return bodies

    def _score(self, target: Target, hit: Hit) -> float:
        return target.cosine(hit["_score"])
