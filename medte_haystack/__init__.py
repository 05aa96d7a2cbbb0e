"""Haystack components around MedTE, a medical text embedding model, and Elasticsearch.

Importing the package is cheap: Haystack and PyTorch are loaded when a component is first named. It also tells Haystack,
which loads classes from YAML only out of modules it was told to trust, to trust this package (through the environment
variable `HAYSTACK_DESERIALIZATION_ALLOWLIST`, the way that needs no import of Haystack).
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medte_haystack.components.document_embedder import MedTEDocumentEmbedder
    from medte_haystack.components.document_splitter import MedTEDocumentSplitter
    from medte_haystack.components.document_store import MedTEDocumentStore
    from medte_haystack.components.embedding_retriever import MedTEEmbeddingRetriever
    from medte_haystack.components.hybrid_retriever import MedTEHybridRetriever
    from medte_haystack.components.text_embedder import MedTETextEmbedder
    from medte_haystack.encoder import Encoder

_WHERE = {
    "Encoder": "medte_haystack.encoder",
    "MedTEDocumentEmbedder": "medte_haystack.components.document_embedder",
    "MedTEDocumentSplitter": "medte_haystack.components.document_splitter",
    "MedTEDocumentStore": "medte_haystack.components.document_store",
    "MedTEEmbeddingRetriever": "medte_haystack.components.embedding_retriever",
    "MedTEHybridRetriever": "medte_haystack.components.hybrid_retriever",
    "MedTETextEmbedder": "medte_haystack.components.text_embedder",
}

__all__ = [
    "Encoder",
    "MedTEDocumentEmbedder",
    "MedTEDocumentSplitter",
    "MedTEDocumentStore",
    "MedTEEmbeddingRetriever",
    "MedTEHybridRetriever",
    "MedTETextEmbedder",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _trust_in_haystack() -> None:
    variable = "HAYSTACK_DESERIALIZATION_ALLOWLIST"
    trusted = [pattern.strip() for pattern in os.environ.get(variable, "").split(",") if pattern.strip()]
    if __name__ not in trusted:
        os.environ[variable] = ",".join([*trusted, __name__])


_trust_in_haystack()
