"""What the retrievers share: the store, a look at its index, filters, and the way from hits to Documents."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, Self, TypedDict

from haystack import Document, default_from_dict, default_to_dict, logging
from haystack.document_stores.types import FilterPolicy
from haystack.document_stores.types.filter_policy import apply_filter_policy
from haystack.errors import FilterError
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from medte_haystack.components.document_store import MedTEDocumentStore
from medte_haystack.components.filters import check_filters, filter_query
from medte_haystack.components.store_access import async_client, blocking_client, portable
from medte_haystack.errors import (
    FingerprintMismatchError,
    IndexContractError,
    IndexMissingError,
    MedTEError,
    SearchError,
)
from medte_haystack.index import CONTRACT_VERSION, IndexInfo, Steps, describe_index, detect_server
from medte_haystack.index.contract import RETRIEVAL
from medte_haystack.index.steps import run, run_async
from medte_haystack.model_identity import fingerprint_of_model
from medte_haystack.retrieval import Hit, Log, SharedOptions, Target, looked_up, neighbours

logger = logging.getLogger(__name__)

_COSINE = ("cosine", "dot_product")
_LOOK_AGAIN = 60.0  # seconds
_REFUSED = 400


class Found(TypedDict, total=False):
    """What a retriever returns; `explanation` only where it was asked for."""

    documents: list[Document]
    explanation: dict[str, Any]


class FoundMany(TypedDict, total=False):
    """What a retriever returns for many queries; `explanation` only where it was asked for."""

    documents: list[list[Document]]
    explanation: dict[str, Any]


class Overrides(TypedDict, total=False):
    """What a single search of either retriever may ask for otherwise than the component."""

    top_k: int | None
    num_candidates: int | None
    oversample: float | None
    min_similarity: float | None
    return_embedding: bool | None
    collapse: bool | None
    neighbours: int | None


class Retriever:
    """Base of the retrievers: a search is one conversation, carried out by the store's blocking or async client.

    A copy or a pickle leaves the connections behind, as that of a :class:`MedTEDocumentStore` does, and looks at the
    index anew. What is shared stays shared, but each gets a stock store of its own where that is connected.
    """

    options: SharedOptions

    def __init__(
        self,
        document_store: ElasticsearchDocumentStore,
        filters: dict[str, Any] | None,
        filter_policy: str | FilterPolicy,
        model: str | None,
        explain: bool,
    ) -> None:
        if not isinstance(document_store, ElasticsearchDocumentStore):
            raise TypeError(
                f"document_store is a {type(document_store).__name__}; it must be a MedTEDocumentStore or an"
                " ElasticsearchDocumentStore"
            )
        self.document_store = document_store
        self.filters = filters or {}
        self.filter_policy = FilterPolicy.from_str(filter_policy) if isinstance(filter_policy, str) else filter_policy
        self.model = model
        self.explain = explain
        self._target: Target | None = None
        self._due = 0.0  # when it is looked at again, by the monotonic clock
        self._unknown: set[str] = set()  # filter fields that were warned of

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled or copied: what was found out of the index is of this server, by this clock."""
        found: dict[str, Any] = {"_target": None, "_due": 0.0, "_unknown": set()}
        return {**self.__dict__, **found, "document_store": portable(self.document_store)}

    def _find(
        self,
        target: Target,
        questions: Sequence[Any],
        filters: Mapping[str, Any] | None,
        options: Any,
        log: Log | None,
    ) -> Steps[list[list[Hit]]]:
        """Return the hits of each question, the best first; for the retrievers to say how."""
        raise NotImplementedError

    def to_dict(self, **more: Any) -> dict[str, Any]:
        """Return the component as a dictionary."""
        options = {one.name: getattr(self.options, one.name) for one in fields(self.options)}
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            filter_policy=self.filter_policy.value,
            model=self.model,
            explain=self.explain,
            **{**options, **more},
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the component that a dictionary describes."""
        found: Self = default_from_dict(cls, data)
        return found

    def close(self) -> None:
        """Release the store's blocking client."""
        self.document_store.close()
        self._target = None

    async def close_async(self) -> None:
        """Release the store's async client."""
        await self.document_store.close_async()
        self._target = None

    def _ask(self, steps: Steps[Any]) -> Any:
        try:
            return run(blocking_client(self.document_store), steps)
        except IndexMissingError:
            if not isinstance(self.document_store, MedTEDocumentStore):
                self.document_store.close()  # a stock store makes a missing index only when it connects
            raise

    async def _ask_async(self, steps: Steps[Any]) -> Any:
        try:
            return await run_async(async_client(self.document_store), steps)
        except IndexMissingError:
            if not isinstance(self.document_store, MedTEDocumentStore):
                await self.document_store.close_async()
            raise

    def _steps(self, question: Any, given: Mapping[str, Any]) -> Steps[Found]:
        """Return the conversation of one search.

        :param given: The arguments of `run` by their names, as ``locals()`` has them: `run` and `run_async`, whose
            signatures Haystack wants spelled out and the same, so have nothing else to spell out twice.
        """
        options = self.options.overridden(**{one.name: given.get(one.name) for one in fields(self.options)})
        many = yield from self._many([question], given["filters"], given["explain"], options)
        found = Found(documents=many["documents"][0])
        if "explanation" in many:
            found["explanation"] = many["explanation"]
        return found

    def _many(
        self,
        questions: Sequence[Any],
        filters: dict[str, Any] | None,
        explain: bool | None,
        options: SharedOptions,
    ) -> Steps[FoundMany]:
        log = Log() if (self.explain if explain is None else explain) else None
        filters = apply_filter_policy(self.filter_policy, self.filters, filters)
        target, hits = yield from self._search(questions, filters, options, log)
        if options.neighbours:
            yield from self._add_neighbours(target, [hit for some in hits for hit in some], options.neighbours, log)
        found = FoundMany(documents=[[self._document(hit) for hit in some] for some in hits])
        if log is not None:
            found["explanation"] = self._explanation(target, options, log)
        return found

    def _search(
        self, questions: Sequence[Any], filters: dict[str, Any] | None, options: SharedOptions, log: Log | None
    ) -> Steps[tuple[Target, list[list[Hit]]]]:
        """Return the index and the hits of each question; what is known of the index may not hold any more."""
        query = filter_query(filters)
        looked = False
        while True:
            before = self._target
            target = yield from self._known()
            looked = looked or target is not before
            try:
                if self._unknown_fields(filters, target) and not looked:
                    looked = True  # documents written since may have brought them
                    target = yield from self._look()
                self._warn_of(self._unknown_fields(filters, target), target.info)
                self._check_metric(target.info, options)
                hits = yield from self._find(target, questions, query, options, log)
            except (MedTEError, FilterError) as error:
                if looked or (isinstance(error, SearchError) and error.status != _REFUSED):
                    raise
                looked = True
                now = yield from self._look()
                if (now.info, now.info.fields) == (target.info, target.info.fields):
                    raise
                continue
            if all(hit["_index"] == target.info.name for some in hits for hit in some):
                return target, hits
            self._target = None  # the name is an alias that was set on another index since

    def _add_neighbours(self, target: Target, hits: list[Hit], reach: int, log: Log | None) -> Steps[None]:
        around = yield from neighbours(target, hits, reach, log)
        for hit, chunks in zip(hits, around, strict=True):
            hit[RETRIEVAL] = {**hit.get(RETRIEVAL, {}), "neighbours": chunks}

    def _document(self, hit: Hit) -> Document:
        if RETRIEVAL in hit:
            hit["_source"][RETRIEVAL] = hit[RETRIEVAL]
        found: Document = self.document_store._deserialize_document(hit)
        return found

    def _explanation(self, target: Target, options: SharedOptions, log: Log) -> dict[str, Any]:
        info, version = target.info, target.server.version
        return {
            "index": info.name,
            "model": info.fingerprint.model if info.fingerprint else None,
            "quantisation": info.quantisation,
            "server_version": ".".join(map(str, version)) if version else None,
            "options": {one.name: getattr(options, one.name) for one in fields(options)},
            "requests": log.requests,
            "took_ms": sum(one["took_ms"] or 0 for one in log.searches),
            "searches": log.searches,
        }

    def _known(self) -> Steps[Target]:
        """Return the index as it is known; looked at again once a minute, for it may be made anew under its name."""
        known = self._target  # which another thread may take away meanwhile
        if known is not None and time.monotonic() < self._due:
            return known
        return (yield from self._look())

    def _look(self) -> Steps[Target]:
        index, known = self.document_store._index, self._target
        self._due = time.monotonic() + _LOOK_AGAIN  # of many who search at once, one looks
        try:
            server = known.server if known else (yield from looked_up(index, detect_server()))
            info = yield from looked_up(index, describe_index(index))
            if known is None or info != known.info:
                self._check_fingerprint(info)
        except MedTEError:
            self._target = None
            raise
        self._target = target = Target(index, info, server)
        return target

    def _check_fingerprint(self, info: IndexInfo) -> None:
        made = info.fingerprint
        if made is not None and made.contract != CONTRACT_VERSION:
            raise FingerprintMismatchError(
                f"index {info.name!r} was made with version {made.contract} of the index contract, this package reads"
                f" {CONTRACT_VERSION}; use the package that made it, or make the index anew",
                index=info.name,
                field="contract",
                expected=made.contract,
                found=CONTRACT_VERSION,
            )
        queries = fingerprint_of_model(self.model)
        if queries is not None and made is not None:
            made.check_reader(queries, index=info.name)
        elif queries is not None:
            logger.warning(
                "Index {index} does not say which model made it; whether that is {model} cannot be checked",
                index=info.name,
                model=queries.model,
            )
        elif made is not None:
            logger.warning(
                "Index {index} was made with {model}; give the retriever model=… to have queries of others refused",
                index=info.name,
                model=made.model,
            )

    def _unknown_fields(self, filters: dict[str, Any] | None, target: Target) -> set[str]:
        return check_filters(filters, target.info) - self._unknown if filters else set()

    def _warn_of(self, unknown: set[str], info: IndexInfo) -> None:
        for name in sorted(unknown):
            self._unknown.add(name)
            logger.warning(
                "Filter on '{field}': no document of {index} has this field; is it misspelt? Like it: {near}",
                field=name,
                index=info.name,
                near=", ".join(get_close_matches(name, info.fields)) or "none",
            )

    def _check_metric(self, info: IndexInfo, options: SharedOptions) -> None:
        if options.min_similarity is not None and info.similarity not in _COSINE:
            raise IndexContractError(
                f"index {info.name!r} compares by {info.similarity}, so min_similarity, a cosine, has no meaning there",
                index=info.name,
                similarity=info.similarity,
            )
