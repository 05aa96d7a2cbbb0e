"""Searching an index of the contract: by vectors, by words, or both; documents or chunks; one question or many.

Bodies and fusion are pure functions; what takes several requests is a conversation in the sense of
`medte_haystack.index.steps`. Nothing here knows Haystack.
"""

from medte_haystack.retrieval.asking import Log, looked_up
from medte_haystack.retrieval.dense import find_dense
from medte_haystack.retrieval.fusion import Weights, fuse
from medte_haystack.retrieval.hybrid import Question, find_hybrid
from medte_haystack.retrieval.lexical import checked_fields, searchable, text_fields
from medte_haystack.retrieval.neighbours import neighbours
from medte_haystack.retrieval.options import (
    DEFAULT_FUSION,
    FUSIONS,
    HybridOptions,
    SearchOptions,
    SharedOptions,
    default_weights,
)
from medte_haystack.retrieval.target import Hit, Target, checked_vector

__all__ = [
    "DEFAULT_FUSION",
    "FUSIONS",
    "Hit",
    "HybridOptions",
    "Log",
    "Question",
    "SearchOptions",
    "SharedOptions",
    "Target",
    "Weights",
    "checked_fields",
    "checked_vector",
    "default_weights",
    "find_dense",
    "find_hybrid",
    "fuse",
    "looked_up",
    "neighbours",
    "searchable",
    "text_fields",
]
