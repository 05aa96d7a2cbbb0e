"""What an index takes in RAM and on disk, by Elasticsearch's published formulas; pure functions.

The formulas are those of "Tune approximate kNN search" in Elastic's production guidance. A server may differ a little:
9.5.3 keeps 16 bytes beside each int8 or int4 vector where the formula has 4.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from medte_haystack.errors import IndexContractError
from medte_haystack.index import QUANTISATIONS, index_options

_FLOAT = 4  # bytes
_LINK = 4  # bytes of a neighbour in the HNSW graph

# Bytes that a search reads of each vector, by dimensions.
_SEARCHED: Mapping[str, Callable[[int], float]] = MappingProxyType(
    {
        "hnsw": lambda dim: dim * _FLOAT,
        "int8": lambda dim: dim + 4,
        "int4": lambda dim: dim / 2 + 4,
        "bbq": lambda dim: dim / 8 + 14,
        "flat": lambda dim: dim * _FLOAT,
    }
)
_UNQUANTISED = frozenset({"hnsw", "flat"})

# Bytes on disk for a byte of the documents' JSON without vectors: compressed, and as inverted index. Measured on 9.5.3:
# 0.69 (MedQuAD, whose metadata repeat), 0.82 (PubMed titles and abstracts), 1.02 (SciFact).
_TEXT_ON_DISK = 1.0

# Bytes on disk for a dimension of a vector kept as JSON in `_source`, compressed. Measured on 8.19.21.
_JSON_DIMENSION = 9


@dataclass(frozen=True, slots=True)
class Size:
    """What one copy of an index takes, in bytes.

    :param quantisation: Vector index type, as in ``--quantisation``.
    :param ram: What a search wants in the page cache, outside of the Java heap: searched vectors and HNSW graph.
    :param disk: Vectors as floats, quantised vectors beside them, graph, and text.
    """

    quantisation: str
    ram: int
    disk: int


def size_of(quantisation: str, vectors: int, dim: int, text_bytes: int = 0, *, m: int | None = None) -> Size:
    """Return what one copy of an index takes after its segments are merged; merging takes more for a while.

    :param quantisation: ``hnsw``, ``int8``, ``int4``, ``bbq`` or ``flat``.
    :param vectors: Number of vectors, one a chunk.
    :param dim: Dimensions of a vector.
    :param text_bytes: Bytes of the documents as JSON, without vectors.
    :param m: Neighbours of a vector in the graph, where an index has others than ours.
    :raises IndexContractError: If the quantisation is unknown or does not go with the dimensions.
    """
    links = index_options(quantisation, dim).get("m", 0)
    graph = vectors * _LINK * (m if links and m else links)
    searched = math.ceil(vectors * _SEARCHED[quantisation](dim))
    floats = vectors * dim * _FLOAT
    beside = 0 if quantisation in _UNQUANTISED else searched
    return Size(quantisation, searched + graph, floats + beside + graph + math.ceil(text_bytes * _TEXT_ON_DISK))


def sizes(vectors: int, dim: int, text_bytes: int = 0) -> Sequence[Size]:
    """Return what each quantisation takes; those that do not go with the dimensions are left out."""
    found = []
    for quantisation in QUANTISATIONS:
        try:
            found.append(size_of(quantisation, vectors, dim, text_bytes))
        except IndexContractError:
            continue
    return found


def vectors_in_source(vectors: int, dim: int) -> int:
    """Return the bytes that servers before 9.2 take beside: they keep the vectors as JSON in `_source` too."""
    return vectors * dim * _JSON_DIMENSION
