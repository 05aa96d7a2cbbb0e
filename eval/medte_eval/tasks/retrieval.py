"""Retrieval tasks on mteb's class whose data comes from local files: mteb never asks the hub."""

import hashlib
import json
import logging
import random
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.timing import TimingStack

from es_ingest.records import ReadError
from medte_haystack.encoder.tokenise import replace_surrogates

logger = logging.getLogger(__name__)

K_VALUES = (1, 3, 5, 10, 20, 100)  # mteb's own go to 1000, and it asks a system for as many documents
SEED = 42


@dataclass(frozen=True, slots=True)
class Judged:
    """What a retrieval task is made of.

    :param corpus: Document ids, titles ("" for none) and texts.
    :param queries: Query ids to texts.
    :param relevant: Query ids to ids of relevant documents to grades.
    :param left_out: Source rows that could not be read.
    """

    corpus: Sequence[tuple[str, str, str]]
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]
    left_out: int = 0

    def sample(self, number: int, seed: int = SEED) -> "Judged":
        """Keep so many random queries, drawn from the ids in sorted order; all where there are no more."""
        if number >= len(self.queries):
            logger.info("all %d queries are asked: there are no %d", len(self.queries), number)
            return self
        kept = sorted(random.Random(seed).sample(sorted(self.queries), number))  # noqa: S311  a repeatable sample
        return replace(
            self,
            queries={query: self.queries[query] for query in kept},
            relevant={query: self.relevant[query] for query in kept},
        )

    def sha256(self) -> str:
        """Return a hash of all of it, so that two results tell whether they are about the same data."""
        digest = hashlib.sha256()
        for part in self._parts():
            digest.update(json.dumps(part).encode())
        return digest.hexdigest()

    def _parts(self) -> Iterator[Any]:
        yield from sorted(self.corpus)
        yield from sorted(self.queries.items())
        yield from sorted((query, sorted(grades.items())) for query, grades in self.relevant.items())


class LocalRetrieval(AbsTaskRetrieval):
    """A retrieval task that reads its data itself. A child states its `metadata` and how to `read`.

    :param queries: Ask only so many queries, drawn at random with a fixed seed; None asks all.
    :param top_k: Documents asked for a query; no metric looks deeper. At least 10.
    """

    own_corpus = "title and text"
    """What of a document the task's corpus holds, for messages."""
    left_out = 0
    """Source rows that could not be read; known once the data is loaded."""

    def __init__(self, *, queries: int | None = None, top_k: int = max(K_VALUES)) -> None:
        self.k_values = tuple(k for k in K_VALUES if k <= top_k)
        self.sampled = queries
        super().__init__(seed=SEED)

    @abstractmethod
    def read(self) -> Judged:
        """Read the data.

        :raises ReadError: If its source cannot be read.
        """

    def load_data(
        self,
        num_proc: int | None = None,  # noqa: ARG002  mteb's signature
        *,
        timer: TimingStack | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Read the data into mteb's shape; its hash becomes the data set's revision.

        :raises ReadError: If the source cannot be read, or has no documents, no queries or an id twice.
        """
        if self.data_loaded:
            return
        with (timer or TimingStack())("Data loading"):
            judged = _checked(self.metadata.name, self.read())
            if self.sampled is not None:
                judged = judged.sample(self.sampled)
        self.left_out = judged.left_out
        found = {**self.metadata.dataset, "revision": judged.sha256()}
        self.metadata = self.metadata.model_copy(update={"dataset": found})
        self.dataset = {"default": {"test": _split_data(judged)}}
        self.data_loaded = True

    def unload_data(self) -> None:
        """Forget the data. mteb's own way also forgets the metadata of an instance, which here is the task's only."""
        self.dataset = {}
        self.data_loaded = False

    @property
    def data(self) -> RetrievalSplitData:
        """The loaded data."""
        return self.dataset["default"]["test"]


def _checked(name: str, judged: Judged) -> Judged:
    if not judged.corpus:
        raise ReadError(name, "its source holds no document")
    if not judged.queries:
        raise ReadError(name, "its source holds no query")
    documents: set[str] = set()
    for id_, _, _ in judged.corpus:
        if id_ in documents:
            raise ReadError(name, f"document id {id_!r} comes twice in its source")
        documents.add(id_)
    absent = sum(document not in documents for grades in judged.relevant.values() for document in grades)
    if absent:
        logger.warning("%s: %d judged documents are not in the corpus and cannot be found", name, absent)
    return judged


def _split_data(judged: Judged) -> RetrievalSplitData:
    ids, titles, texts = (list(column) for column in zip(*judged.corpus, strict=True))
    corpus = {"id": ids, "title": [replace_surrogates(one) for one in titles]}
    corpus["text"] = [replace_surrogates(one) for one in texts]  # Arrow, too, cannot hold a lone surrogate
    asked = [replace_surrogates(text) for text in judged.queries.values()]
    return RetrievalSplitData(
        corpus=Dataset.from_dict(corpus),
        queries=Dataset.from_dict({"id": list(judged.queries), "text": asked}),
        relevant_docs={query: dict(grades) for query, grades in judged.relevant.items()},
        top_ranked=None,
    )
