"""The Elasticsearch index that a system searches: one made for the evaluation and removed after it, or a given one."""

import logging
import time
from collections.abc import Iterator
from typing import Any, Protocol
from uuid import uuid4

from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch

from es_ingest.ingest import Ingester
from es_ingest.records import Record
from es_ingest.search import Searcher
from medte_eval.systems import SystemOptions
from medte_eval.systems.system import Measured, ShowProgress, silent
from medte_haystack.encoder import Encoder
from medte_haystack.errors import IndexContractError
from medte_haystack.index.contract import CHUNK_INDEX, EMBEDDING, PARENT_ID
from medte_haystack.index.mapping import META_KEY

logger = logging.getLogger(__name__)

_IDS_AT_ONCE = 20_000  # below the server's limit for a terms query


class Corpus(Protocol):
    """What of mteb's corpus, a `datasets.Dataset`, is used here."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[dict[str, Any]]: ...
    def __getitem__(self, column: str) -> Any: ...


class CorpusIndex:
    """Puts a task's corpus into an index, or checks that a given index holds it; several systems may share it.

    :param client: The server.
    :param encoder: The model.
    :param options: Existing index to use, or how the ones made here shall be.
    :param show: Shows how far indexing is.
    """

    def __init__(
        self,
        client: Elasticsearch,
        encoder: Encoder,
        options: SystemOptions,
        show: ShowProgress = silent,
    ) -> None:
        self.client = client
        self.encoder = encoder
        self.given = options.index
        self.quantisation = options.quantisation
        self.chunk_tokens = options.chunk_tokens
        self._show = show
        self._made: str | None = None
        self._opened: tuple[Corpus, Searcher, Measured] | None = None

    def open(self, corpus: Corpus) -> tuple[Searcher, Measured]:
        """Make the corpus searchable; an index made for another corpus before is removed.

        :param corpus: Rows with ``id``, ``title`` and ``text``; the same object again is not indexed again.
        :returns: What searches it, and how much it is; the seconds are those of making it.
        :raises FingerprintMismatchError: If the given index was made with another model.
        :raises IndexContractError: If the server refused documents, or the given index has none of the corpus.
        """
        if self._opened is not None and self._opened[0] is corpus:
            return self._opened[1], self._opened[2]
        self.close()
        started = time.perf_counter()
        name, truncated = (self.given, 0) if self.given is not None else self._ingest(corpus)
        searcher = Searcher(self.client, name, self.encoder)
        if self.given is not None:
            self._check_holds(corpus)
        chunks = int(self.client.count(index=name)["count"])
        measured = Measured(self._documents(name), chunks, truncated, time.perf_counter() - started)
        self._opened = corpus, searcher, measured
        return searcher, measured

    def describe(self) -> dict[str, Any]:
        """Return how the index in use is made; its name only if it was given."""
        name = self.given or self._made
        if name is None:
            return {}
        found = self.client.indices.get(index=name)
        ((_, body),) = found.items()
        made_by = body["mappings"]["_meta"][META_KEY]
        settings = body["settings"]["index"]
        return {
            "index": self.given,
            "index_options": body["mappings"]["properties"][EMBEDDING].get("index_options", {}),
            "shards": int(settings["number_of_shards"]),
            **{key: made_by.get(key) for key in ("max_tokens", "chunk_tokens", "chunk_overlap", "embedded_fields")},
            "indexed_with_precision": made_by.get("precision"),
            "analyzer": made_by.get("analyzer"),
        }

    def close(self) -> None:
        """Remove the index made here, if there is one; a given one stays."""
        self._opened = None
        if self._made is None:
            return
        name, self._made = self._made, None
        try:
            self.client.options(ignore_status=404).indices.delete(index=name)
        except (ApiError, TransportError) as error:  # must not hide the error that may have led here
            logger.warning("index %s could not be removed (%s); delete it by hand", name, type(error).__name__)

    def _ingest(self, corpus: Corpus) -> tuple[str, int]:
        self._made = f"medte-eval-{uuid4().hex[:12]}"
        ingester = Ingester(
            self.client,
            self._made,
            self.encoder,
            chunk_tokens=self.chunk_tokens,
            quantisation=self.quantisation,
            replicas=0,
        )
        records = (Record(row["id"], row["title"], row["text"], {}, row["id"]) for row in corpus)
        with self._show(lambda: range(len(corpus))) as progress:
            summary = ingester.run(records, progress)
        if summary.failed:
            raise IndexContractError(
                f"{summary.failed} chunks of the corpus were refused, so the scores would be wrong; see the warnings",
                failed=summary.failed,
            )
        return self._made, summary.truncated

    def _documents(self, name: str, ids: list[str] | None = None) -> int:
        first: list[dict[str, Any]] = [{"term": {CHUNK_INDEX: 0}}]  # every document has one first chunk; exact, unlike
        if ids is not None:  # a cardinality aggregation
            first.append({"terms": {PARENT_ID: ids}})
        return int(self.client.count(index=name, query={"bool": {"filter": first}})["count"])

    def _check_holds(self, corpus: Corpus) -> None:
        assert self.given is not None  # noqa: S101  the caller saw to it
        ids = list(corpus["id"])
        parts = (ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE))
        found = sum(self._documents(self.given, part) for part in parts)
        if not found:
            raise IndexContractError(
                f"index {self.given!r} holds none of the task's {len(ids)} documents, such as {ids[0]!r}; name the"
                " index that `es-ingest run` made of the same data",
                index=self.given,
            )
        if found < len(ids):
            logger.warning(
                "index %s holds %d of the task's %d documents; the others cannot be found", self.given, found, len(ids)
            )
