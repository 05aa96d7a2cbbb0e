"""Making an index and finding out what an existing one is; conversations in the sense of `steps`."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from elasticsearch import ApiError, BadRequestError, NotFoundError

from medte_haystack.errors import IndexContractError, IndexMissingError
from medte_haystack.index.contract import EMBEDDING
from medte_haystack.index.fingerprint import Fingerprint
from medte_haystack.index.mapping import (
    DEFAULT_QUANTISATION,
    fields_of,
    mapping,
    oversampling_of,
    quantisation_of,
    settings,
)
from medte_haystack.index.outcome import BUSY
from medte_haystack.index.server_errors import cause_of
from medte_haystack.index.steps import Request, Steps

logger = logging.getLogger(__name__)

_VECTOR = "dense_vector"
_VECTORS_OUT = "index.mapping.exclude_source_vectors"
_ASKED = ("*.mappings", "*.settings.index.uuid", *(f"*.{where}.{_VECTORS_OUT}" for where in ("settings", "defaults")))

ANALYZERS = ("english", "standard")  # what "auto" tries in turn: not every server has the language analyzers


@dataclass(frozen=True, slots=True)
class Server:
    """What matters of a server.

    :param version: Its version, None where the caller may not ask; then the oldest supported behaviour is assumed.
    """

    version: tuple[int, ...] | None

    @property
    def base64_vectors(self) -> bool:
        """Whether documents may carry vectors as base64 of big-endian float32 (9.3 on)."""
        return self.version is not None and self.version >= (9, 3)

    @property
    def base64_doc_values(self) -> bool:
        """Whether doc values of vectors come as base64 too, many times faster than as numbers (9.4 on)."""
        return self.version is not None and self.version >= (9, 4)

    @property
    def postpones_graphs(self) -> bool:
        """Whether ``flat_index_threshold`` says from how many vectors on a segment gets a graph (9.4 on)."""
        return self.version is not None and self.version >= (9, 4)

    @property
    def gives_vectors_on_request(self) -> bool:
        """Whether ``"_source": {"exclude_vectors": false}`` is understood (8.19 on)."""
        return self.version is None or self.version >= (8, 19)

    @property
    def excludes_vectors(self) -> bool:
        """Whether new indices leave vectors out of `_source` unless asked (9.2 on)."""
        return self.version is not None and self.version >= (9, 2)


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an existing index is.

    :param name: The index itself, also where an alias was asked for.
    :param dim: Dimensions of its vectors, None while none was written and none was declared.
    :param similarity: Similarity of its vector field, None if it has none.
    :param quantisation: Our name of its vector index type.
    :param fingerprint: What made it, None if something else than this project did.
    :param fields: Types of its fields by their full names, such as ``title.text``; not compared.
    :param oversampling: How many times the hits it compares again as floats of itself; None if it says nothing of it.
    :param keeps_vectors_out: Whether hits come without vectors unless these are asked for.
    """

    name: str
    dim: int | None
    similarity: str | None
    quantisation: str
    fingerprint: Fingerprint | None
    fields: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    oversampling: float | None = None
    keeps_vectors_out: bool = field(default=False, compare=False)

    def takes_base64(self, server: Server) -> bool:
        """Whether vectors may be written to it as base64: one that keeps them in `_source` gives them back as sent."""
        return server.base64_vectors and self.keeps_vectors_out

    @classmethod
    def of(cls, name: str, found: Mapping[str, Any]) -> "IndexInfo":
        """Read it from what the server gives of an index: mappings, settings and their defaults."""
        body = found.get("mappings", {})
        told = [found.get(where, {}).get("index", {}).get("mapping", {}) for where in ("defaults", "settings")]
        vectors = body.get("properties", {}).get(EMBEDDING, {})
        return cls(
            name,
            vectors.get("dims"),
            vectors.get("similarity"),
            quantisation_of(body),
            Fingerprint.from_mapping(body),
            fields_of(body),
            oversampling_of(body),
            {**told[0], **told[1]}.get("exclude_source_vectors") == "true",
        )


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """What a new index shall be.

    :param fingerprint: What will make its vectors; None makes an index for any embedder.
    :param quantisation: ``hnsw``, ``int8``, ``int4``, ``bbq`` or ``flat``.
    :param similarity: ``dot_product`` under the contract.
    :param analyzer: Of the text fields; ``auto`` takes ``english`` where the server has it, else ``standard``.
    :param shards: Primary shards.
    :param replicas: Copies of each; None leaves it to the server.
    :param body: A whole mapping instead of the contract's.
    :param sparse_field: Name of a field for sparse vectors, if there shall be one.
    :param fields: Mappings of metadata fields that are known beforehand, by name.
    :param meta: What else goes to the mapping's `_meta`, beside the fingerprint.
    :param more_settings: Settings beside shards and replicas.
    """

    fingerprint: Fingerprint | None = None
    quantisation: str = DEFAULT_QUANTISATION
    similarity: str = "dot_product"
    analyzer: str = "auto"
    shards: int = 1
    replicas: int | None = None
    body: Mapping[str, Any] | None = None
    sparse_field: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    more_settings: Mapping[str, Any] = field(default_factory=dict)


def detect_server() -> Steps[Server]:
    """Find out the server's version, also where `GET /` is not served.

    :returns: The server; with version None if neither way is open to the caller.
    :raises ApiError: If the server is too busy to say.
    """
    try:
        answer = yield lambda client: client.nodes.info(node_id="_local", filter_path="nodes.*.version")
        found = next(node["version"] for node in answer["nodes"].values())
    except (ApiError, KeyError, StopIteration) as error:
        _raise_if_busy(error)
        try:
            answer = yield lambda client: client.info()
            found = answer["version"]["number"]
        except (ApiError, KeyError) as without_root:
            _raise_if_busy(without_root)
            logger.info("the server does not tell its version; JSON vectors are used")
            return Server(None)
    return Server(tuple(int(part) for part in str(found).split("-")[0].split(".")))


def _raise_if_busy(error: Exception) -> None:
    if isinstance(error, ApiError) and error.status_code in BUSY:
        raise error


def describe_index(index: str) -> Steps[IndexInfo]:
    """Find out what an index is.

    :param index: Name of an index or of an alias of one.
    :raises IndexMissingError: If it does not exist.
    :raises IndexContractError: If the name stands for several indices, or the server does not take it.
    """
    if not index.strip() or index == "_all" or set(index) & set("*,"):
        raise IndexContractError(f"{index!r} is not the name of one index; name one", index=index)
    try:
        answer = yield lambda client: client.indices.get(index=index, include_defaults=True, filter_path=_ASKED)
    except NotFoundError:
        answer = {}
    except BadRequestError as error:
        reason = cause_of(error)[1]
        raise IndexContractError(f"{index!r} cannot be an index: {reason}", index=index, reason=reason) from error
    if not answer:
        raise IndexMissingError(
            f"index {index!r} is not there; make it with `es-ingest run … --index {index}`, or check the name",
            index=index,
        )
    if len(answer) > 1:
        names = sorted(answer)
        raise IndexContractError(
            f"{index!r} stands for {len(names)} indices ({', '.join(names)}); name one", index=index
        )
    ((name, found),) = answer.items()
    return IndexInfo.of(name, found)


def create_index(index: str, spec: IndexSpec, server: Server) -> Steps[bool]:
    """Make an index unless it is there.

    :returns: Whether it was made by this call; another process may have been faster.
    :raises IndexContractError: If the server refuses the name or the mapping.
    """
    tries = ANALYZERS if spec.analyzer == "auto" else (spec.analyzer,)
    for analyzer in tries:
        try:
            yield _create_request(index, _bodies(spec, analyzer, server))
        except BadRequestError as error:
            kind, reason = cause_of(error)
            if kind == "resource_already_exists_exception":
                return False
            if f"analyzer [{analyzer}]" in reason and analyzer != tries[-1]:
                logger.info("the server has no analyzer %r, the index gets %r", analyzer, tries[-1])
                continue
            raise IndexContractError(f"index {index!r} cannot be made: {reason}", index=index, reason=reason) from error
        logger.info("made index %s (%s, analyzer %s)", index, spec.quantisation, analyzer)
        return True
    raise AssertionError("unreachable: the last analyzer either serves or raises")


def open_index(index: str, spec: IndexSpec, server: Server) -> Steps[IndexInfo]:
    """Make an index unless it is there, and check that it is the one meant.

    :raises FingerprintMismatchError: If it was made with another model or chunking than `spec` says.
    :raises IndexContractError: If its vectors are of other dimensions, or no vectors.
    """
    try:
        info = yield from describe_index(index)
    except IndexMissingError:
        yield from create_index(index, spec, server)
        info = yield from describe_index(index)
    if (kind := info.fields.get(EMBEDDING, _VECTOR)) != _VECTOR:
        raise IndexContractError(
            f"index {index!r} has {EMBEDDING!r} as {kind}, so it was made without its mapping; delete it, or take"
            " another name",
            index=index,
        )
    if spec.fingerprint is not None:
        if info.fingerprint is not None:
            info.fingerprint.check_writer(spec.fingerprint, index=index)
        if info.dim not in (None, spec.fingerprint.dim):
            raise IndexContractError(
                f"index {index!r} has vectors of {info.dim} dimensions, model {spec.fingerprint.model} makes"
                f" {spec.fingerprint.dim}; use the model it was made with, or a new index",
                expected=info.dim,
                found=spec.fingerprint.dim,
            )
    return info


def _create_request(index: str, bodies: Mapping[str, Any]) -> Request:
    return lambda client: client.indices.create(index=index, **bodies)


def _bodies(spec: IndexSpec, analyzer: str, server: Server) -> dict[str, Any]:
    shape = {**spec.more_settings, **settings(shards=spec.shards, replicas=spec.replicas)}
    if spec.body is not None:
        return {"settings": shape, "mappings": dict(spec.body)}
    made_by = None if spec.fingerprint is None else replace(spec.fingerprint, analyzer=analyzer)
    if made_by is None and server.excludes_vectors:
        shape[_VECTORS_OUT] = False  # give vectors back bit for bit, as a stock store does
    shape_of_documents = mapping(
        made_by.dim if made_by else None,
        quantisation=spec.quantisation,
        similarity=spec.similarity,
        analyzer=analyzer,
        fingerprint=made_by.to_dict() if made_by else None,
    )
    if spec.sparse_field:
        shape_of_documents["properties"][spec.sparse_field] = {"type": "sparse_vector"}
    shape_of_documents["properties"] = {**spec.fields, **shape_of_documents["properties"]}
    if spec.meta:
        shape_of_documents["_meta"] = {**spec.meta, **shape_of_documents.get("_meta", {})}
    return {"settings": shape, "mappings": shape_of_documents}
