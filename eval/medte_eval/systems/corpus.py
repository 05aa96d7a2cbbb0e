"""The Elasticsearch index that a system searches: one made for the evaluation and removed after it, or a given one."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

from elastic_transport import TransportError
from elasticsearch import ApiError, BadRequestError, Elasticsearch

from es_ingest.indices.graph import await_graph
from es_ingest.ingest import Ingester
from es_ingest.records import Record
from es_ingest.search import readable_index
from es_ingest.stream.making import Making
from medte_eval.systems import SystemOptions
from medte_eval.systems.ownership import META_KEY, Owner
from medte_eval.systems.system import Measured, ShowProgress, silent
from medte_haystack.encoder import Encoder, TokenSplitter
from medte_haystack.errors import IndexContractError
from medte_haystack.index import DEFAULT_QUANTISATION, Fingerprint, describe_index, detect_server, index_options, run
from medte_haystack.index.contract import CHUNK_INDEX, EMBEDDING, PARENT_ID
from medte_haystack.index.lifecycle import ANALYZERS
from medte_haystack.retrieval import Target

logger = logging.getLogger(__name__)

_IDS_AT_ONCE = 20_000  # below the server's limit for a terms query


class Corpus(Protocol):
    """What of mteb's corpus, a `datasets.Dataset`, is used here."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[dict[str, Any]]: ...
    def __getitem__(self, column: str) -> Any: ...


class EvaluationIndex(ABC):
    """Puts a corpus into an index; several systems may share it. The last one made is there until :meth:`close`.

    :param client: The server.
    :param show: Shows how far indexing is.
    :param analyzer: Of texts; None takes ``english`` where the server has it, else ``standard``.
    :ivar given: Existing index that is searched instead; None where each corpus gets its own.
    """

    given: str | None = None

    def __init__(self, client: Elasticsearch, show: ShowProgress = silent, *, analyzer: str | None = None) -> None:
        self.client = client
        self._show = show
        self._owner = Owner()
        self._made: str | None = None
        self._whole = False
        self._opened: tuple[Corpus, Target, Measured] | None = None
        self._given_analyzer = analyzer
        self._analyzer: str | None = None

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return all of the index that decides what is found in it, as it is known before it is made."""

    @abstractmethod
    def _make(self, name: str, corpus: Corpus, mark: dict[str, Any]) -> int:
        """Put a corpus into a new index, searchable, and return how many texts were cut.

        :param mark: Belongs into the mapping's `_meta` from the beginning.
        """

    @property
    def name(self) -> str | None:
        """Name of the index in use."""
        return self._made

    def open(self, corpus: Corpus) -> tuple[Target, Measured]:
        """Make a corpus searchable; the index of the corpus before is removed.

        :param corpus: Rows with ``id``, ``title`` and ``text``; an equal one is not indexed again.
        :returns: What to search, and how much it is; the seconds are those of making it.
        :raises IndexContractError: If the server refused documents.
        """
        if self._opened is not None and (self._opened[0] is corpus or self._opened[0] == corpus):
            return self._opened[1], self._opened[2]
        self.close()
        started = time.perf_counter()
        name, truncated = self._provide(corpus)
        target = Target(name, run(self.client, describe_index(name)), run(self.client, detect_server()))
        chunks = int(self.client.count(index=name)["count"])
        measured = Measured(self._documents(name), chunks, truncated, time.perf_counter() - started)
        self._opened = corpus, target, measured
        return target, measured

    def details(self) -> dict[str, Any]:
        """Return the mapping of the index in use and its size on disk, of its primary shards alone."""
        name = self.name
        if name is None:
            return {}
        (found,) = self.client.indices.get_mapping(index=name).values()
        mapping = dict(found["mappings"])
        kept = {key: value for key, value in mapping.get("_meta", {}).items() if key != META_KEY}  # which has a path
        stats = self.client.indices.stats(index=name, metric="store")
        return {
            "mapping": {**mapping, "_meta": kept},
            "index_bytes": int(stats["_all"]["primaries"]["store"]["size_in_bytes"]),
        }

    def close(self) -> None:
        """Remove the index made here, if there is one."""
        self._opened = None
        if self._made is None:
            return
        name, self._made = self._made, None
        left = False
        try:
            done = self.client.options(ignore_status=404).indices.delete(index=name)
            left = done.meta.status == 404 and not self._whole  # the server may be about to make it
        except (ApiError, TransportError) as error:  # must not hide the error that may have led here
            left = True
            logger.warning(
                "index %s could not be removed (%s); the next evaluation does it", name, type(error).__name__
            )
        self._owner.close(left=left)

    def analyzer(self) -> str:
        """Return the analyzer of texts that an index gets here.

        :raises IndexContractError: If it was chosen, and the server does not have it.
        """
        if self._analyzer is None:
            chosen = self._given_analyzer
            tries = ANALYZERS if chosen is None else (chosen,)
            found = next((name for name in tries if self._has_analyzer(name)), None)
            if found is None:
                raise IndexContractError(f"the server has no analyzer {chosen!r}; it has standard", analyzer=chosen)
            self._analyzer = found
        return self._analyzer

    def _has_analyzer(self, name: str) -> bool:
        try:
            self.client.indices.analyze(analyzer=name, text="a")
        except BadRequestError:
            return False
        return True

    def _provide(self, corpus: Corpus) -> tuple[str, int]:
        mark = self._owner.mark()
        self._made, self._whole = self._owner.new_name(), False
        truncated = self._make(self._made, corpus, mark)
        self._whole = True
        return self._made, truncated

    def _documents(self, name: str, ids: list[str] | None = None) -> int:
        first: list[dict[str, Any]] = [{"term": {CHUNK_INDEX: 0}}]  # every document has one first chunk; exact, unlike
        if ids is not None:  # a cardinality aggregation
            first.append({"terms": {PARENT_ID: ids}})
        return int(self.client.count(index=name, query={"bool": {"filter": first}})["count"])


class CorpusIndex(EvaluationIndex):
    """Documents with vectors, written by `es-ingest`'s stream; or a given index, which is checked and stays.

    Documents are whole, and what of one does not fit the model has no part in its vector, as with the encoder alone;
    or they are split into chunks.

    :param client: The server.
    :param encoder: The model.
    :param options: Existing index to use, or how the ones made here shall be.
    :param show: Shows how far indexing is.
    """

    def __init__(
        self, client: Elasticsearch, encoder: Encoder, options: SystemOptions, show: ShowProgress = silent
    ) -> None:
        super().__init__(client, show, analyzer=options.analyzer)
        self.encoder = encoder
        self.given = options.index
        self.quantisation = options.quantisation or DEFAULT_QUANTISATION
        self.chunk_tokens = options.chunk_tokens

    @property
    def name(self) -> str | None:
        """Name of the index in use."""
        return self.given or self._made

    def settings(self) -> dict[str, Any]:
        """Return how the index is made; of a given one also which it is and how often it was written to.

        :raises IndexMissingError: If the given index is not there.
        :raises IndexContractError: If it was not made by this project.
        """
        if self.given is not None:
            return self._settings_of(self.given)
        return {
            "index": None,
            "index_options": index_options(self.quantisation, self.encoder.dim),
            "shards": 1,
            **_of_fingerprint(replace(self._fingerprint(), analyzer=self.analyzer())),
        }

    def _fingerprint(self) -> Fingerprint:
        if self.chunk_tokens is None:
            return Fingerprint.of_encoder(self.encoder)
        TokenSplitter(self.encoder.tokeniser, chunk_tokens=self.chunk_tokens)  # checks the number
        return Fingerprint.of_encoder(self.encoder, chunk_tokens=self.chunk_tokens)

    def _settings_of(self, index: str) -> dict[str, Any]:
        info = readable_index(self.client, index)
        assert info.fingerprint is not None  # noqa: S101  of a readable index
        found = self.client.indices.get(index=info.name, flat_settings=True)[info.name]
        stats = self.client.indices.stats(index=info.name, level="shards", metric="docs")
        shards = stats["indices"][info.name]["shards"].values()
        return {
            "index": index,
            "index_options": found["mappings"]["properties"][EMBEDDING].get("index_options", {}),
            "shards": int(found["settings"]["index.number_of_shards"]),
            **_of_fingerprint(info.fingerprint),
            "index_uuid": found["settings"]["index.uuid"],
            "index_writes": sum(1 + max(copy["seq_no"]["max_seq_no"] for copy in copies) for copies in shards),
        }

    def _provide(self, corpus: Corpus) -> tuple[str, int]:
        if self.given is None:
            return super()._provide(corpus)
        fingerprint = readable_index(self.client, self.given).fingerprint
        assert fingerprint is not None  # noqa: S101  of a readable index
        fingerprint.check_reader(Fingerprint.of_encoder(self.encoder), index=self.given)
        self._check_holds(self.given, corpus)
        return self.given, 0

    def _make(self, name: str, corpus: Corpus, mark: dict[str, Any]) -> int:
        splits = self.chunk_tokens is not None
        ingester = Ingester(
            self.client,
            name,
            self.encoder if splits else None,
            vectors_by=self._fingerprint(),
            chunk_tokens=self.chunk_tokens,
            quantisation=self.quantisation,
            analyzer=self.analyzer(),
            replicas=0,
            meta=mark,
        )
        if not splits:
            ingester.making = Making(self.encoder.dim, self.encoder)  # whole texts, cut at the model's length
        with self._show(lambda: range(len(corpus))) as progress:
            summary = ingester.run(_records(corpus), progress)
        if summary.failed:
            raise IndexContractError(
                f"{summary.failed} chunks of the corpus were refused, so the scores would be wrong; see the warnings",
                failed=summary.failed,
            )
        await_graph(self.client, name)
        return summary.truncated

    def _check_holds(self, name: str, corpus: Corpus) -> None:
        ids = list(corpus["id"])
        parts = (ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE))
        found = sum(self._documents(name, part) for part in parts)
        if not found:
            raise IndexContractError(
                f"index {name!r} holds none of the task's {len(ids)} documents, such as {ids[0]!r}; name the"
                " index that `es-ingest run` made of the same data",
                index=name,
            )
        if found < len(ids):
            logger.warning(
                "index %s holds %d of the task's %d documents; the others cannot be found", name, found, len(ids)
            )


def _records(corpus: Corpus) -> Iterator[Record]:
    """Give the documents as records; a title alone is a text, and a document without any is left out."""
    for row in corpus:
        title, text = row.get("title") or "", row["text"]
        if text.strip():
            yield Record(row["id"], title, text, {}, row["id"])
        elif title.strip():
            yield Record(row["id"], "", title, {}, row["id"])


def _of_fingerprint(made_by: Fingerprint) -> dict[str, Any]:
    kept = {key: getattr(made_by, key) for key in ("max_tokens", "chunk_tokens", "chunk_overlap")}
    fields = made_by.embedded_fields
    return {
        **kept,
        "embedded_fields": None if fields is None else list(fields),
        "indexed_with_precision": made_by.precision,
        "analyzer": made_by.analyzer,
    }
