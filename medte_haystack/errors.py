"""Exceptions of the package.

Every one carries its values as attributes (``error.index``, ``error.expected``, …), survives pickling, and says in its
message what was found and what to do about it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


class MedTEError(Exception):
    """Base of all errors raised by this project.

    :param message: What was found and how to mend it.
    :param data: The values behind the message; they become attributes.
    """

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.__dict__.update(data)


class ModelNotAvailableError(MedTEError):
    """A model's files are neither on this machine nor to be had from the hub."""


class ModelError(MedTEError):
    """A model folder is damaged, of another shape than declared, or not loadable safely."""


class EncoderOptionError(MedTEError, ValueError):
    """An option of the encoder is unknown or cannot be honoured on this machine."""


class IndexContractError(MedTEError, ValueError):
    """A value cannot be written to, or asked from, an index that follows the contract."""


class FingerprintMismatchError(MedTEError):
    """An index was made with another model, chunking or contract version than the one in use."""


class IndexMissingError(MedTEError):
    """The named Elasticsearch index does not exist."""


class BulkWriteError(MedTEError):
    """The server could not be reached, or refused a whole bulk request."""


class SearchError(MedTEError):
    """A search was refused or not answered; `index`, `attempts`, and in a batch `failures` say which and why.

    `status` is the server's HTTP status, 400 for what cannot be searched for; None if there was no answer.
    """

    status: int | None = None
    failures: Mapping[int, str] = MappingProxyType({})


class TrainingConfigError(MedTEError, ValueError):
    """A training's configuration cannot be, or is another than that of the run it is to go on."""


class TrainingDataError(MedTEError, ValueError):
    """Training pairs cannot be used: there are none, or too many repeat one another."""


class TrainingOutputError(MedTEError):
    """A checkpoint, or another file of a training, cannot be written or read."""
