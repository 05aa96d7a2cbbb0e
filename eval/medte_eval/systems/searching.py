"""What the systems that search an index have in common: both of mteb's protocols, over searches of many queries."""

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta
from mteb.types import PromptType
from numpy.typing import NDArray

from medte_eval.systems.corpus import Corpus, EvaluationIndex
from medte_eval.systems.encoder import EncoderSystem
from medte_eval.systems.system import Measured, ShowProgress, model_meta, silent
from medte_eval.systems.texts import Texts
from medte_haystack.encoder import Encoder
from medte_haystack.index import MAX_CANDIDATES, default_num_candidates, run
from medte_haystack.index.contract import PARENT_ID
from medte_haystack.retrieval import Hit, SharedOptions, Target, searchable
from medte_haystack.retrieval.asking import ask
from medte_haystack.retrieval.target import documents

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.types import Array, BatchedInput, RetrievalOutputType, TopRankedDocumentsType
    from torch.utils.data import DataLoader

Scores = dict[str, float]
"""Document ids to scores."""

_QUERIES_AT_ONCE = 512  # whose hits are held together
_PAIR = "PairClassification"


@dataclass(frozen=True, slots=True)
class _Ids(Target):
    """A target whose hits come with no more than the ids of their documents."""

    def shown(self, options: SharedOptions) -> dict[str, Any]:  # noqa: ARG002
        return {"_source": [PARENT_ID]}


class SearchSystem(AbsEncoder):
    """Base of the systems that search an index.

    Retrieval is mteb's SearchProtocol. Pairs are mteb's EncoderProtocol, whose `encode` gives no vectors but numbers of
    texts: the second texts are indexed, and `similarity_pairwise` asks the server for the score of exactly that
    document. Texts of other tasks are encoded by the model of the index.

    :param index: The index.
    :param encoder: The model; None for a system without one.
    :param show: Shows how far encoding is, where nothing is indexed.
    """

    name = ""
    timed = "encoding and search"
    least = 0.0
    """Score of what the server does not find."""

    def __init__(self, index: EvaluationIndex, encoder: Encoder | None, show: ShowProgress = silent) -> None:
        self.encoder = self.model = encoder
        self.measured = Measured()
        self.mteb_model_meta: ModelMeta = model_meta(encoder, f"{self.name} without a model")
        self._index = index
        self._embedding = None if encoder is None else EncoderSystem(encoder, show=show)
        self._target: Target | None = None
        self._sides: list[list[str]] = []

    @abstractmethod
    def find(self, texts: Sequence[str], top_k: int) -> list[Scores]:
        """Return the best documents of each query."""

    @abstractmethod
    def rate(self, texts: Sequence[str], wanted: Sequence[Sequence[str]]) -> list[Scores]:
        """Return the score of each wanted document of each query; `least` for what is not found."""

    @abstractmethod
    def answer(self, text: str, top_k: int) -> None:
        """Answer one query as a user would have it answered."""

    @abstractmethod
    def scoring(self) -> str:
        """Return how the score of a pair was made, for who reads the result."""

    def begin(self) -> None:
        """Forget the task before."""
        self.measured, self._sides, self._target = Measured(), [], None

    def settings(self) -> dict[str, Any]:
        """Return how the index is made and how it is asked."""
        return self._index.settings()

    def details(self) -> dict[str, Any]:
        """Return what the index has become; nothing of a task that needs none."""
        return {} if self._target is None else self._index.details()

    def refusal(self, task_type: str) -> str | None:
        """Return why it cannot run a type of tasks: one that needs vectors, if it has none, or an index of its own."""
        if task_type == _PAIR and self._index.given is not None:
            return (
                f"the texts of {task_type} are in no index that was made before; leave --index {self._index.given} out,"
                " and one is made of them"
            )
        if "Retrieval" in task_type or task_type in (_PAIR, "Reranking"):
            return None
        if self._embedding is None:
            return f"{self.name} makes no vectors of texts, which {task_type} needs"
        return None

    # -- mteb's SearchProtocol ------------------------------------------------------------------------------------

    def index(self, corpus: Corpus, **mteb: Any) -> None:  # noqa: ARG002  mteb tells the task, too
        """Make the corpus searchable.

        :param corpus: Rows with ``id``, ``title`` and ``text``.
        :raises FingerprintMismatchError: If a given index was made with another model.
        :raises IndexContractError: If documents were refused, or a given index has none of the corpus.
        """
        self._target, measured = self._index.open(corpus)
        self.measured += measured

    def search(
        self,
        queries: Corpus,
        *,
        top_k: int,
        top_ranked: "TopRankedDocumentsType | None" = None,
        **mteb: Any,  # noqa: ARG002
    ) -> "RetrievalOutputType":
        """Search with every query.

        :param queries: Rows with ``id`` and ``text``.
        :param top_k: Documents a query.
        :param top_ranked: The only documents to score, by the ids of queries; None searches all.
        :returns: Query ids to document ids to scores.
        """
        started = time.perf_counter()
        ids, texts = [str(one) for one in queries["id"]], list(queries["text"])
        if top_ranked is None:
            found = self.find(texts, top_k)
        else:
            found = self.rate(texts, [top_ranked[query] for query in ids])
        self.measured += Measured(search_seconds=time.perf_counter() - started)
        return dict(zip(ids, found, strict=True))

    # -- mteb's EncoderProtocol -----------------------------------------------------------------------------------

    def encode(
        self,
        inputs: "DataLoader[BatchedInput]",
        *,
        task_metadata: "TaskMetadata",
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> NDArray[np.float32]:
        """Encode texts; those of pairs are noted, and their numbers from 1 stand for them.

        :param inputs: Batches with a list of strings under ``text``.
        :returns: Unit vectors, float32, shape (n, dim); of pairs, shape (n, 1).
        """
        if task_metadata.type == _PAIR:
            self._sides.append([text for batch in inputs for text in batch["text"]])
            return np.arange(1, len(self._sides[-1]) + 1, dtype=np.float32)[:, np.newaxis]
        assert self._embedding is not None  # noqa: S101  refusal() saw to it
        self._embedding.begin()
        vectors = self._embedding.encode(
            inputs,
            task_metadata=task_metadata,
            hf_split=hf_split,
            hf_subset=hf_subset,
            prompt_type=prompt_type,
            **kwargs,
        )
        self.measured += self._embedding.measured
        return vectors

    def similarity_pairwise(self, embeddings1: "Array", embeddings2: "Array") -> NDArray[np.float64]:
        """Return what the server says of each pair: the score of its second text for its first as a query.

        :param embeddings1: What :meth:`encode` returned for the first texts; the order counts, not the values.
        :param embeddings2: Of the second texts.
        """
        (first, second), self._sides = self._sides, []
        assert len(first) == len(embeddings1) == len(second) == len(embeddings2)  # noqa: S101  mteb encodes both
        numbers = {text: str(number) for number, text in enumerate(dict.fromkeys(second))}
        self.index(Texts(tuple(numbers)))
        started = time.perf_counter()
        scores = self.rate(first, [[numbers[text]] for text in second])
        self.measured += Measured(search_seconds=time.perf_counter() - started)
        return np.array([next(iter(one.values())) for one in scores])


class ServerSystem(SearchSystem):
    """Base of the systems whose searches are one request each, sent together."""

    _top_k = 1

    def _with_candidates(self, given: int | None) -> dict[str, Any]:
        """Return the details with how many documents and candidates the searches asked for.

        :param given: Candidates as they were chosen.
        """
        found = SearchSystem.details(self)
        candidates = max(given or default_num_candidates(self._top_k), self._top_k)
        return {**found, "top_k": self._top_k, "num_candidates": candidates} if found else {}

    @abstractmethod
    def _find(self, target: Target, texts: Sequence[str], top_k: int) -> list[list[Hit]]:
        """Return the hits of each query, best first, with scores to be kept."""

    @abstractmethod
    def _bodies(self, target: Target, texts: Sequence[str], among: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return a search for each query that scores all documents that match its filter in `among`."""

    def _score(self, target: Target, hit: Hit) -> float:  # noqa: ARG002
        """Return the score of a hit of :meth:`_bodies`."""
        return float(hit["_score"])

    def answer(self, text: str, top_k: int) -> None:
        """Answer one query, with the texts of what is found."""
        self._find(self._searched(), [text], top_k)

    def find(self, texts: Sequence[str], top_k: int) -> list[Scores]:
        """Return the best documents of each query."""
        self._top_k = top_k
        target = _ids_only(self._searched())
        found: list[Scores] = []
        for start in range(0, len(texts), _QUERIES_AT_ONCE):
            every = self._find(target, texts[start : start + _QUERIES_AT_ONCE], top_k)
            found += [_scores(documents(hits, collapses=True)) for hits in every]
        return found

    def rate(self, texts: Sequence[str], wanted: Sequence[Sequence[str]]) -> list[Scores]:
        """Return the score of each wanted document of each query; `least` for what the server does not find."""
        target = _ids_only(self._searched())
        found: list[Scores] = []
        for start in range(0, len(texts), _QUERIES_AT_ONCE):
            some = slice(start, start + _QUERIES_AT_ONCE)
            ids = wanted[some]
            bodies = self._bodies(target, texts[some], [{"terms": {PARENT_ID: list(one)}} for one in ids])
            for one, answer in zip(ids, run(self._index.client, ask(target.index, bodies)), strict=True):
                hits = documents(answer["hits"]["hits"], collapses=True)
                found.append({item: self._score(target, hits[item]) if item in hits else self.least for item in one})
        return found

    def _vectors(self, texts: Sequence[str]) -> Sequence[NDArray[np.float32]]:
        """Encode queries; a single one by the way with the least delay."""
        assert self.encoder is not None  # noqa: S101  of a system with a model
        return [self.encoder.encode_one(texts[0])] if len(texts) == 1 else list(self.encoder.encode(texts, "query"))

    def _searched(self) -> Target:
        assert self._target is not None  # noqa: S101  mteb indexes first
        return self._target


def _ids_only(target: Target) -> Target:
    return _Ids(target.index, target.info, target.server)


def _scores(hits: Mapping[str, Hit]) -> Scores:
    return {item: float(hit["_score"]) for item, hit in hits.items()}


def words(text: str) -> str:
    """Return a query as BM25 gets it; of a blank one nothing, which matches nothing."""
    return searchable(text) if text.strip() else ""


def room_for(among: dict[str, Any]) -> tuple[int, int]:
    """Return how many chunks to look among, and how many hits to take, so that each document of a filter is met."""
    wanted = len(among["terms"][PARENT_ID])
    return (100, 1) if wanted == 1 else (MAX_CANDIDATES, wanted)
