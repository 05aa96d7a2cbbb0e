"""Dense search on a real Elasticsearch, by the code that users run."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from medte_eval.systems.corpus import Corpus, CorpusIndex
from medte_eval.systems.system import Measured, model_meta
from medte_haystack.index import default_num_candidates

if TYPE_CHECKING:
    from mteb.types import RetrievalOutputType

    from es_ingest.search import Searcher


class DenseSystem:
    """mteb's SearchProtocol over `es_ingest`: `Ingester` writes the corpus, `Searcher` finds documents by best chunk.

    :param corpus_index: The index.
    :param num_candidates: Candidates that a shard looks at, at least; None takes ten a document asked for.
    """

    name = "dense"

    def __init__(self, corpus_index: CorpusIndex, *, num_candidates: int | None = None) -> None:
        self.encoder = corpus_index.encoder
        self.measured = Measured()
        self.mteb_model_meta = model_meta(self.encoder)
        self._corpus_index = corpus_index
        self._asked_candidates = num_candidates
        self._used: dict[str, int] = {}
        self._searcher: Searcher | None = None

    def parameters(self) -> dict[str, Any]:
        """Return how the index is made and how it was asked."""
        return {**self._corpus_index.describe(), **self._used}

    def index(self, corpus: Corpus, **mteb: Any) -> None:  # noqa: ARG002  mteb tells the task, too
        """Make the corpus searchable.

        :param corpus: Rows with ``id``, ``title`` and ``text``.
        :raises FingerprintMismatchError: If a given index was made with another model.
        :raises IndexContractError: If documents were refused, or a given index has none of the corpus.
        """
        self._searcher, self.measured = self._corpus_index.open(corpus)

    def search(self, queries: Corpus, *, top_k: int, **mteb: Any) -> "RetrievalOutputType":  # noqa: ARG002
        """Search with every query.

        :param queries: Rows with ``id`` and ``text``.
        :param top_k: Documents a query.
        :returns: Query ids to document ids to cosines.
        """
        assert self._searcher is not None  # noqa: S101  mteb indexes first
        searcher, started = self._searcher, time.perf_counter()
        candidates = self._asked_candidates or default_num_candidates(top_k)
        self._used = {"top_k": top_k, "num_candidates": candidates}
        vectors = self.encoder.encode(list(queries["text"]), "query")
        found: RetrievalOutputType = {}
        for query, vector in zip(queries["id"], vectors, strict=True):
            hits = searcher.search_vector(vector, top_k=top_k, num_candidates=candidates)
            found[query] = {hit.document_id: hit.score for hit in hits}
        self.measured = replace(self.measured, search_seconds=time.perf_counter() - started)
        return found
