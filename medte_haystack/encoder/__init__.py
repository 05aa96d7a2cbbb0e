"""Text -> unit vectors.

The encoder needs neither Haystack nor Elasticsearch; the components, the commands and the evaluation all stand on it.
"""

from medte_haystack.encoder.backends import DEVICES, PRECISIONS, check_precision
from medte_haystack.encoder.encoder import Encoder, EncodeStats, Kind
from medte_haystack.encoder.files import ModelFiles, locate
from medte_haystack.encoder.models import DEFAULT_MODEL, MODELS, ModelSpec
from medte_haystack.encoder.split import Piece, TokenSplitter
from medte_haystack.encoder.tokenise import Tokeniser

__all__ = [
    "DEFAULT_MODEL",
    "DEVICES",
    "MODELS",
    "PRECISIONS",
    "EncodeStats",
    "Encoder",
    "Kind",
    "ModelFiles",
    "ModelSpec",
    "Piece",
    "TokenSplitter",
    "Tokeniser",
    "check_precision",
    "locate",
]
