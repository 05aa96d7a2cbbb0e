"""Asks an index: which documents are nearest to a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from medte_haystack.encoder import Encoder
from medte_haystack.errors import IndexContractError
from medte_haystack.index import (
    Fingerprint,
    IndexInfo,
    describe_index,
    detect_server,
    run,
)
from medte_haystack.index.contract import CHUNK_END, CHUNK_INDEX, CHUNK_START, CONTENT, ID, PARENT_ID, TITLE
from medte_haystack.model_identity import fingerprint_of_model
from medte_haystack.retrieval import SearchOptions, Target, find_dense


@dataclass(frozen=True, slots=True)
class Hit:
    """A document and its best chunk.

    :param document_id: Id of the source document.
    :param score: Cosine of query and chunk, in [-1, 1].
    :param title: Title of the document.
    :param content: The chunk.
    :param chunk_id: Id of the chunk.
    :param chunk_index: Its position among the document's chunks.
    :param start: Its first character in the document's text.
    :param end: One past its last character.
    :param meta: Metadata of the document.
    """

    document_id: str
    score: float
    title: str
    content: str
    chunk_id: str
    chunk_index: int
    start: int
    end: int
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, hit: Mapping[str, Any]) -> "Hit":
        """Read a hit whose score is a cosine."""
        meta = dict(hit["_source"])
        return cls(
            chunk_id=meta.pop(ID, hit["_id"]),
            document_id=meta.pop(PARENT_ID, hit["_id"]),  # a stock store's document in the same index has none
            score=hit["_score"],
            title=meta.pop(TITLE, "") or "",
            content=meta.pop(CONTENT, "") or "",
            chunk_index=meta.pop(CHUNK_INDEX, 0),
            start=meta.pop(CHUNK_START, 0),
            end=meta.pop(CHUNK_END, 0),
            meta=meta,
        )


def readable_index(client: Elasticsearch, index: str) -> IndexInfo:
    """Return what an index is, if it follows the contract.

    :raises IndexMissingError: If it does not exist.
    :raises IndexContractError: If something else than this project made it.
    """
    info: IndexInfo = run(client, describe_index(index))
    if info.fingerprint is None:
        raise IndexContractError(
            f"index {index!r} was not made by medte, so the model for its queries is unknown; make one with"
            " `es-ingest run`, or search it with Haystack's own retrievers",
            index=index,
        )
    return info


class Searcher:
    """Finds documents in one index.

    :param client: The server.
    :param index: The index.
    :param encoder: The model of the queries.
    :raises IndexMissingError: If the index does not exist.
    :raises FingerprintMismatchError: If it was made with another model.
    """

    def __init__(self, client: Elasticsearch, index: str, encoder: Encoder) -> None:
        self.client = client
        self.index = index
        self.encoder = encoder
        self.info = readable_index(client, index)
        assert self.info.fingerprint is not None  # noqa: S101  readable_index saw to it
        self.info.fingerprint.check_reader(Fingerprint.of_encoder(encoder), index=index)
        self._target = Target(index, self.info, run(client, detect_server()))

    def search(self, text: str, *, top_k: int = 10, num_candidates: int | None = None) -> list[Hit]:
        """Find the documents nearest to a text, each once, with its best chunk.

        :param text: The query.
        :param top_k: Documents wanted.
        :param num_candidates: Candidates that a shard looks at; None takes ten a document, at least 100.
        :raises IndexContractError: If the query is blank or a number is out of range.
        """
        if not text.strip():
            raise IndexContractError("the query is empty; give some text to search for")
        return self.search_vector(self.encoder.encode([text], "query")[0], top_k=top_k, num_candidates=num_candidates)

    def search_many(self, texts: Sequence[str], *, top_k: int = 10) -> list[list[Hit]]:
        """Find documents for many texts, encoded together and searched for in few requests."""
        return self._find(list(self.encoder.encode(texts, "query")), SearchOptions(top_k=top_k, collapse=True))

    def search_vector(
        self, vector: NDArray[np.float32], *, top_k: int = 10, num_candidates: int | None = None
    ) -> list[Hit]:
        """Find the documents nearest to a query vector; see :meth:`search`."""
        (hits,) = self._find([vector], SearchOptions(top_k=top_k, num_candidates=num_candidates, collapse=True))
        return hits

    def _find(self, vectors: Sequence[NDArray[np.float32]], options: SearchOptions) -> list[list[Hit]]:
        found = run(self.client, find_dense(self._target, vectors, None, options))
        return [[Hit.of(hit) for hit in hits] for hits in found]


def model_for(client: Elasticsearch, index: str, wanted: str | None) -> str:
    """Return the model for an index's queries, as `Encoder.load` takes it.

    :param wanted: The model asked for; None takes the one that the index was made with.
    :raises FingerprintMismatchError: If the model asked for is known not to be the index's, before it is loaded.
    :raises IndexContractError: If none was asked for and the index's was a local folder, whose place is unknown.
    """
    fingerprint = readable_index(client, index).fingerprint
    assert fingerprint is not None  # noqa: S101  of a readable index
    if wanted is not None:
        if queries := fingerprint_of_model(wanted):
            fingerprint.check_reader(queries, index=index)
        return wanted
    if "/" not in fingerprint.model:
        raise IndexContractError(
            f"index {index!r} was made with the local model {fingerprint.model!r}; name its folder with --model",
            index=index,
            model=fingerprint.model,
        )
    return fingerprint.model
