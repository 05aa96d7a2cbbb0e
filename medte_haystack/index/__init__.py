"""The index contract: what a stored document looks like and what made it, agreed on by all who write and read."""

from medte_haystack.index.contract import (
    CONTRACT_VERSION,
    RESERVED,
    Chunk,
    check_vector,
    chunk_id,
    cosine_from_score,
    source,
    vector_json,
)
from medte_haystack.index.fingerprint import Fingerprint
from medte_haystack.index.lifecycle import (
    IndexInfo,
    IndexSpec,
    Server,
    create_index,
    describe_index,
    detect_server,
    open_index,
)
from medte_haystack.index.mapping import DEFAULT_QUANTISATION, QUANTISATIONS, index_options, mapping, settings
from medte_haystack.index.operations import Operation, operation
from medte_haystack.index.outcome import BulkResult, Failure
from medte_haystack.index.queries import (
    MAX_CANDIDATES,
    MAX_OVERSAMPLING,
    default_num_candidates,
    default_oversampling,
    knn_body,
)
from medte_haystack.index.steps import Pause, Steps, run, run_async

__all__ = [
    "CONTRACT_VERSION",
    "DEFAULT_QUANTISATION",
    "MAX_CANDIDATES",
    "MAX_OVERSAMPLING",
    "QUANTISATIONS",
    "RESERVED",
    "BulkResult",
    "Chunk",
    "Failure",
    "Fingerprint",
    "IndexInfo",
    "IndexSpec",
    "Operation",
    "Pause",
    "Server",
    "Steps",
    "check_vector",
    "chunk_id",
    "cosine_from_score",
    "create_index",
    "default_num_candidates",
    "default_oversampling",
    "describe_index",
    "detect_server",
    "index_options",
    "knn_body",
    "mapping",
    "open_index",
    "operation",
    "run",
    "run_async",
    "settings",
    "source",
    "vector_json",
]
