"""Search by vectors and by words, made one ranking."""

from collections.abc import Sequence
from typing import Any

from medte_eval.systems.corpus import CorpusIndex
from medte_eval.systems.searching import ServerSystem, room_for, words
from medte_eval.systems.system import ShowProgress, silent
from medte_haystack.index import run
from medte_haystack.retrieval import Hit, HybridOptions, Question, Target, find_hybrid, text_fields
from medte_haystack.retrieval.hybrid import weighted_body

_ALONE = "weighted"  # the one fusion whose score of a document does not depend on the others


class HybridSystem(ServerSystem):
    """What `MedTEHybridRetriever` finds.

    :param index: The index.
    :param fusion: One of `medte_haystack.retrieval.FUSIONS`.
    :param weights: Of the dense and the lexical side; None takes the fusion's default.
    :param learned_from: The task, and how many of its queries, that the weights were learned from.
    :param num_candidates: Candidates that a shard looks at, at least; None takes ten a document asked for.
    :param oversample: See `DenseSystem`.
    :param show: Shows how far encoding is, where nothing is indexed.
    :raises IndexContractError: If the fusion is unknown or a number out of range.
    """

    name = "hybrid"

    def __init__(
        self,
        index: CorpusIndex,
        *,
        fusion: str,
        weights: Sequence[float] | None = None,
        learned_from: tuple[str, int] | None = None,
        num_candidates: int | None = None,
        oversample: float | None = None,
        show: ShowProgress = silent,
    ) -> None:
        super().__init__(index, index.encoder, show)
        self.learned_from = learned_from
        self._given = HybridOptions(
            top_k=1, num_candidates=num_candidates, oversample=oversample, collapse=True, fusion=fusion, weights=weights
        )

    def settings(self) -> dict[str, Any]:
        """Return how the index is made and how it is asked."""
        weights = self._given.weighted
        return {
            **super().settings(),
            "num_candidates": self._given.num_candidates,
            "oversample": self._given.oversample,
            "fusion": self._given.fusion,
            "weights": [weights.dense, weights.lexical],
        }

    def refusal(self, task_type: str) -> str | None:
        """Return why it cannot run a type of tasks: one that asks for the score of a single document."""
        refused = super().refusal(task_type)
        if refused is None and task_type in ("PairClassification", "Reranking") and self._given.fusion != _ALONE:
            return (
                f"fusion {self._given.fusion} scores a document by the others found with it, {task_type} asks for the"
                f" score of one alone; take --fusion {_ALONE}"
            )
        return refused

    def details(self) -> dict[str, Any]:
        """Return what the index has become and what was asked of it."""
        return self._with_candidates(self._given.num_candidates)

    def scoring(self) -> str:
        """Return how the score of a pair is made."""
        return "the server's weighted sum of (1 + cosine) / 2 and BM25 of the second text for the first"

    def _options(self, top_k: int) -> HybridOptions:
        candidates = self._given.num_candidates
        return self._given.overridden(top_k=top_k, num_candidates=candidates and max(candidates, top_k))

    def _questions(self, texts: Sequence[str]) -> list[Question]:
        vectors = self._vectors(texts)
        return [Question(words(text), vector) for text, vector in zip(texts, vectors, strict=True)]

    def _find(self, target: Target, texts: Sequence[str], top_k: int) -> list[list[Hit]]:
        questions, fields = self._questions(texts), text_fields(target.info)
        return run(self._index.client, find_hybrid(target, questions, None, self._options(top_k), fields))

    def _bodies(self, target: Target, texts: Sequence[str], among: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        bodies, fields = [], text_fields(target.info)
        for question, its in zip(self._questions(texts), among, strict=True):
            chunks, size = room_for(its)
            bodies.append(weighted_body(target, question, its, self._options(size), fields, chunks))
        return bodies
