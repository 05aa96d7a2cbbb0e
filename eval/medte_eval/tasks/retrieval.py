"""Retrieval tasks on mteb's class whose data comes from local files."""

from typing import Any, cast

from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData

from es_ingest.records import ReadError
from medte_eval.tasks.content import SEED, Judged
from medte_eval.tasks.task import LocalTask
from medte_haystack.encoder.tokenise import replace_surrogates

__all__ = ["K_VALUES", "SEED", "Judged", "LocalRetrieval"]

K_VALUES = (1, 3, 5, 10, 20, 100)  # mteb's own go to 1000, and it asks a system for as many documents


class LocalRetrieval(LocalTask[Judged], AbsTaskRetrieval):
    """A retrieval task that reads its data itself. A child states its `metadata` and how to `read`.

    :param queries: Ask only so many queries, drawn at random with a fixed seed; None asks all.
    :param top_k: Documents asked for a query; no metric looks deeper. At least 10.
    """

    own_corpus = "title and text"
    """What of a document the task's corpus holds, for messages."""

    def __init__(self, *, queries: int | None = None, top_k: int = max(K_VALUES)) -> None:
        self.k_values = tuple(k for k in K_VALUES if k <= top_k)
        self.sampled = queries
        super().__init__()

    def prepare(self, content: Judged) -> Judged:
        """Check what was read, and draw the queries if not all are asked.

        :raises ReadError: If there are no documents, no queries or an id twice.
        """
        _check(self.metadata.name, content)
        asked = content if self.sampled is None else content.sample(self.sampled)
        documents = {id_ for id_, _, _ in asked.corpus}
        self.absent = sum(document not in documents for grades in asked.relevant.values() for document in grades)
        return asked

    def splits(self, content: Judged) -> dict[str, RetrievalSplitData]:
        """Return corpus, queries and judgements of the one split."""
        return {"test": _split_data(content)}

    @property
    def data(self) -> RetrievalSplitData:
        """The loaded data."""
        return cast(RetrievalSplitData, self.loaded["test"])


def _check(name: str, judged: Judged) -> None:
    if not judged.corpus:
        raise ReadError(name, "its source holds no document")
    if not judged.queries:
        raise ReadError(name, "its source holds no query")
    documents: set[str] = set()
    for id_, _, _ in judged.corpus:
        if id_ in documents:
            raise ReadError(name, f"document id {id_!r} comes twice in its source")
        documents.add(id_)
    if not any(document in documents for grades in judged.relevant.values() for document in grades):
        raise ReadError(
            name, "its corpus holds none of the judged documents; corpus and judgements do not belong together"
        )


def _split_data(judged: Judged) -> RetrievalSplitData:
    ids, titles, texts = (list(column) for column in zip(*judged.corpus, strict=True))
    corpus: dict[str, Any] = {"id": ids, "title": [replace_surrogates(one) for one in titles]}
    corpus["text"] = [replace_surrogates(one) for one in texts]  # Arrow, too, cannot hold a lone surrogate
    asked = [replace_surrogates(text) for text in judged.queries.values()]
    return RetrievalSplitData(
        corpus=Dataset.from_dict(corpus),
        queries=Dataset.from_dict({"id": list(judged.queries), "text": asked}),
        relevant_docs={query: dict(grades) for query, grades in judged.relevant.items()},
        top_ranked=None,
    )
