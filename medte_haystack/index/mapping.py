"""Mapping and settings of an index; pure functions."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from medte_haystack.errors import IndexContractError
from medte_haystack.index.contract import (
    CHUNK_END,
    CHUNK_INDEX,
    CHUNK_START,
    CONTENT,
    EMBEDDING,
    ID,
    PARENT_ID,
    TITLE,
)

# Names of ours -> Elasticsearch's index types. Sizes of a 768-d vector: 3072, 768, 384, 96 bytes; flat stays float.
QUANTISATIONS: Mapping[str, str] = MappingProxyType(
    {"hnsw": "hnsw", "int8": "int8_hnsw", "int4": "int4_hnsw", "bbq": "bbq_hnsw", "flat": "flat"}
)
DEFAULT_QUANTISATION = "int8"

# Twice the server's m and ef_construction: of MedQuAD's passages, which are alike in their thousands, 100 candidates
# then find 0.992 of the nearest ten instead of 0.974. It costs 64 bytes a vector, and time.
_GRAPH = MappingProxyType({"m": 32, "ef_construction": 200})

META_KEY = "medte"  # under the mapping's _meta
_MAX_KEYWORD_CHARACTERS = 8191  # Lucene's limit of 32,766 bytes a term, at 4 bytes a character


def index_options(quantisation: str, dim: int | None) -> dict[str, Any]:
    """Return the `index_options` of the vector field, always spelled out: the server's default changes by version.

    :param quantisation: ``hnsw`` (float), ``int8``, ``int4``, ``bbq`` (one bit), or ``flat`` (float, exact search).
    :param dim: Dimensions, if known.
    :raises IndexContractError: If the name is unknown or does not go with the dimensions.
    """
    if quantisation not in QUANTISATIONS:
        raise IndexContractError(
            f"quantisation {quantisation!r} is unknown; there are {', '.join(QUANTISATIONS)}", quantisation=quantisation
        )
    if dim is not None and quantisation == "int4" and dim % 2:
        raise IndexContractError(f"int4 needs an even number of dimensions, not {dim}; take int8", dim=dim)
    if dim is not None and quantisation == "bbq" and dim < 64:
        raise IndexContractError(f"bbq needs at least 64 dimensions, not {dim}; take int8", dim=dim)
    options: dict[str, Any] = {"type": QUANTISATIONS[quantisation]}
    if quantisation != "flat":
        options |= _GRAPH
    return options


def quantisation_of(mapping: Mapping[str, Any]) -> str:
    """Return our name of the quantisation a mapping uses; the server's own name for one of its other types."""
    kind = mapping.get("properties", {}).get(EMBEDDING, {}).get("index_options", {}).get("type", "")
    return next((name for name, its in QUANTISATIONS.items() if its == kind), str(kind))


def oversampling_of(mapping: Mapping[str, Any]) -> float | None:
    """Return how many times the hits a mapping has compared again as floats; None if it says nothing of it."""
    options = mapping.get("properties", {}).get(EMBEDDING, {}).get("index_options", {})
    oversampling = options.get("rescore_vector", {}).get("oversample")
    return None if oversampling is None else float(oversampling)


def fields_of(mapping: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Return the types of a mapping's fields by their full names: those of objects and the further ones of a field too.

    :param above: Put before each name.
    """
    found: dict[str, str] = {}
    for kind in ("properties", "fields", "runtime"):
        for name, body in mapping.get(kind, {}).items():
            found[above + name] = body.get("type", "object")
            found |= fields_of(body, f"{above}{name}.")
    return found


def vector_field(dim: int | None, quantisation: str, similarity: str) -> dict[str, Any]:
    """Return the mapping of the vector field; without `dim` the first vector decides."""
    dims = {} if dim is None else {"dims": dim}
    return {
        "type": "dense_vector",
        **dims,
        "index": True,
        "similarity": similarity,
        "index_options": index_options(quantisation, dim),
    }


def mapping(
    dim: int | None,
    *,
    quantisation: str = DEFAULT_QUANTISATION,
    similarity: str = "dot_product",
    analyzer: str = "standard",
    fingerprint: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the mapping of an index.

    Metadata is mapped as it comes: strings as keywords, numbers and ISO dates as such. A later value that does not fit
    a number or date field is kept in the document though not indexed, rather than refused.

    :param dim: Dimensions; None leaves them to the first vector.
    :param quantisation: See :func:`index_options`.
    :param similarity: ``dot_product`` under the contract.
    :param analyzer: Of `content` and `title.text`.
    :param fingerprint: Goes to `_meta`, and brings the contract's own fields; None makes an index that, like a stock
        store's, knows only content and embedding beforehand.
    :raises IndexContractError: If quantisation and dimensions do not go together.
    """
    keyword = {"type": "keyword", "ignore_above": _MAX_KEYWORD_CHARACTERS}
    text = {"type": "text", "analyzer": analyzer}
    properties: dict[str, Any] = {
        CONTENT: text,
        EMBEDDING: vector_field(dim, quantisation, similarity),
    }
    if fingerprint is not None:
        properties |= {
            ID: {"type": "keyword"},
            TITLE: {**keyword, "fields": {"text": text}},
            PARENT_ID: {"type": "keyword"},
            CHUNK_INDEX: {"type": "integer"},
            CHUNK_START: {"type": "integer"},
            CHUNK_END: {"type": "integer"},
        }
    body = {"properties": properties, "dynamic_templates": dynamic_templates()}
    return body if fingerprint is None else {**body, "_meta": {META_KEY: dict(fingerprint)}}


def dynamic_templates() -> list[dict[str, Any]]:
    """Return how metadata is mapped that the mapping does not name."""
    lenient = {
        kind: {"match_mapping_type": kind, "mapping": {"type": kind, "ignore_malformed": True}}
        for kind in ("long", "double", "date")
    }
    keyword = {"type": "keyword", "ignore_above": _MAX_KEYWORD_CHARACTERS}
    return [
        {"strings": {"match_mapping_type": "string", "mapping": keyword}},
        *({f"{kind}s": template} for kind, template in lenient.items()),
    ]


def settings(*, shards: int = 1, replicas: int | None = None, refresh_interval: str | None = None) -> dict[str, Any]:
    """Return the settings of an index; what is None is left to the server."""
    found = {"number_of_shards": shards, "number_of_replicas": replicas, "refresh_interval": refresh_interval}
    return {name: value for name, value in found.items() if value is not None}
