"""The names and the shape of a stored document: one Elasticsearch document a chunk.

Whoever writes an index and whoever reads it agree through this package alone. The shape is the flat one of Haystack's
`ElasticsearchDocumentStore`, so its store and its retrievers read our indices too.
"""

import binascii
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from medte_haystack.errors import IndexContractError

CONTRACT_VERSION = 1

ID = "id"
CONTENT = "content"
EMBEDDING = "embedding"
TITLE = "title"
PARENT_ID = "parent_id"
CHUNK_INDEX = "chunk_index"
CHUNK_START = "chunk_start"
CHUNK_END = "chunk_end"
RETRIEVAL = "retrieval"  # not stored: how a Document was found, in the metadata of those that retrievers return

OWN_FIELDS = frozenset({ID, CONTENT, EMBEDDING, TITLE, PARENT_ID, CHUNK_INDEX, CHUNK_START, CHUNK_END})
RESERVED = OWN_FIELDS | {
    RETRIEVAL,
    *("meta", "blob", "score", "sparse_embedding"),  # fields of a Haystack Document
    *("_id", "_index", "_source", "_routing", "_ignored", "_field_names", "_doc_count", "_meta", "_tier", "_size"),
    *("_type", "_nested_path", "_seq_no", "_version", "_ignored_source"),  # fields of Elasticsearch itself
}

_MAX_ID_BYTES = 512  # Elasticsearch's limit for _id
_UNIT_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a source document, as it is stored.

    :param parent_id: Id of the source document.
    :param content: The piece's text, as it stands in the source.
    :param index: Position among the document's pieces, from 0.
    :param start: First character in the source text.
    :param end: One past the last character in the source text.
    :param title: Title of the source document, empty if it has none.
    :param meta: Flat metadata of the source document.
    """

    parent_id: str
    content: str
    index: int = 0
    start: int = 0
    end: int = 0
    title: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The document id: the same chunk of the same source always has the same, so writing twice overwrites."""
        return chunk_id(self.parent_id, self.index)

    @property
    def embedded_text(self) -> str:
        """What the vector is made of: title, blank, content (the convention of BEIR), or the content alone."""
        return f"{self.title} {self.content}" if self.title else self.content


def chunk_id(parent_id: str, index: int) -> str:
    """Return the id of a chunk: ``parent#index``, with a hash for a parent id too long for Elasticsearch.

    :raises IndexContractError: If the parent id is empty.
    """
    if not parent_id:
        raise IndexContractError("a document without an id cannot be stored", parent_id=parent_id)
    name = f"{parent_id}#{index}"
    size = len(name) if name.isascii() else len(name.encode("utf-8", "surrogatepass"))
    if size <= _MAX_ID_BYTES:
        return name
    return f"sha256:{hashlib.sha256(parent_id.encode('utf-8', 'surrogatepass')).hexdigest()}#{index}"


def check_id(id: str) -> None:  # noqa: A002
    """Check that Elasticsearch takes an id; otherwise it would refuse the whole bulk request that holds it.

    :raises IndexContractError: If it is empty, above 512 bytes, not valid Unicode, or holds a NUL character.
    """
    try:
        size = len(id) if id.isascii() else len(id.encode())
    except UnicodeEncodeError:
        raise IndexContractError(f"the id {id!r} holds a lone surrogate", id=id) from None
    if "\0" in id:
        raise IndexContractError(f"the id {id!r} holds a NUL character", id=id)
    if not 0 < size <= _MAX_ID_BYTES:
        raise IndexContractError(f"the id {id[:40]!r}… has {size} bytes; Elasticsearch takes 1 to 512", id=id)


def source(chunk: Chunk, vector: orjson.Fragment | str | list[float] | NDArray[np.float32]) -> dict[str, Any]:
    """Return the `_source` of a chunk.

    Metadata whose name is taken by the contract or by Haystack is stored with an underscore behind it (``score_``).

    :param vector: As :func:`vector_json` gives it.
    """
    body = {name: value for name, value in chunk.meta.items() if value is not None}
    if not RESERVED.isdisjoint(body):
        for name in sorted(RESERVED & body.keys()):
            free = f"{name}_"
            while free in body:
                free += "_"
            body[free] = body.pop(name)
    if chunk.title:
        body[TITLE] = chunk.title
    body |= {
        ID: chunk.id,
        CONTENT: chunk.content,
        PARENT_ID: chunk.parent_id,
        CHUNK_INDEX: chunk.index,
        CHUNK_START: chunk.start,
        CHUNK_END: chunk.end,
        EMBEDDING: vector,
    }
    return body


def check_vector(vector: NDArray[np.floating[Any]], dim: int, *, name: str) -> None:
    """Check that a vector may be stored under the contract: its dimensions, finite, unit length.

    :param name: What to call it in the message, e.g. the document's id.
    :raises IndexContractError: If it may not.
    """
    if vector.shape != (dim,):
        raise IndexContractError(
            f"the vector of {name} has {' x '.join(map(str, vector.shape))} dimensions, the index has {dim}; is it"
            " another model's?",
            found=vector.shape[0] if vector.ndim == 1 else vector.shape,
            expected=dim,
        )
    length = math.sqrt(vector.dot(vector))
    if not abs(length - 1.0) <= _UNIT_TOLERANCE:
        raise IndexContractError(
            f"the vector of {name} has length {length:.4g}; the index stores unit vectors (dot product). Normalise it,"
            " or take an embedder of this package, which does",
            length=length,
        )


def vector_json(vector: NDArray[np.floating[Any]], *, base64_vectors: bool) -> orjson.Fragment | NDArray[np.float32]:
    """Return a vector in the form that is sent: base64 of big-endian float32 where the server takes it (9.3+).

    :param vector: Shape (dim,).
    :param base64_vectors: Whether the server takes base64; otherwise the array, which orjson writes as a list.
    :returns: What :func:`~medte_haystack.index.operations.operation` writes; base64 holds nothing that JSON escapes.
    """
    if base64_vectors:
        return orjson.Fragment(b'"%b"' % vector_base64(vector))
    return np.ascontiguousarray(vector, dtype=np.float32)


def vector_base64(vector: NDArray[np.floating[Any]]) -> bytes:
    """Return a vector as Elasticsearch takes and gives it in base64: big-endian float32.

    :param vector: Shape (dim,).
    """
    return binascii.b2a_base64(vector.astype(">f4").data, newline=False)


def cosine_from_score(score: float) -> float:
    """Return the cosine in [-1, 1] behind a kNN score: Elasticsearch scores (1 + cosine) / 2.

    It holds for the similarities `cosine` and, with unit vectors, `dot_product`.
    """
    return 2.0 * score - 1.0
