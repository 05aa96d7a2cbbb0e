"""Search by words alone: what the others must beat."""

from collections.abc import Sequence
from typing import Any

from medte_eval.systems.corpus import CorpusIndex, EvaluationIndex
from medte_eval.systems.searching import ServerSystem, room_for, words
from medte_eval.systems.system import ShowProgress, silent
from medte_haystack.index import run
from medte_haystack.index.contract import PARENT_ID
from medte_haystack.retrieval import Hit, SearchOptions, Target, text_fields
from medte_haystack.retrieval.asking import ask
from medte_haystack.retrieval.lexical import filtered, lexical_clause


class Bm25System(ServerSystem):
    """BM25 over title and content as one text, as the lexical side of `MedTEHybridRetriever` searches.

    :param index: Whole documents, or an index of chunks, of which the best counts.
    :param show: Shows how far encoding is, where nothing is indexed.
    """

    name = "bm25"
    timed = "search"

    def __init__(self, index: EvaluationIndex, show: ShowProgress = silent) -> None:
        super().__init__(index, None, show)
        self._chunked = isinstance(index, CorpusIndex)

    def scoring(self) -> str:
        """Return how the score of a pair is made."""
        return "the server's BM25 score of the second text for the first, among all second texts"

    def _find(self, target: Target, texts: Sequence[str], top_k: int) -> list[list[Hit]]:
        bodies = [self._body(target, text, None, top_k) for text in texts]
        return [answer["hits"]["hits"] for answer in run(self._index.client, ask(target.index, bodies))]

    def _bodies(self, target: Target, texts: Sequence[str], among: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self._body(target, text, its, room_for(its)[1]) for text, its in zip(texts, among, strict=True)]

    def _body(self, target: Target, text: str, among: dict[str, Any] | None, size: int) -> dict[str, Any]:
        clause = lexical_clause(words(text), text_fields(target.info))
        body = {
            "query": filtered(clause, among),
            "size": size,
            "track_total_hits": False,
            **target.shown(SearchOptions(top_k=size)),
        }
        return {**body, "collapse": {"field": PARENT_ID}} if self._chunked else body
