"""Text -> unit vectors: the one encoder behind the components, the commands, training and evaluation."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property, lru_cache
from os import PathLike
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from medte_haystack.encoder.backends import DEVICES, Backend, check_precision, load_backend
from medte_haystack.encoder.files import ModelFiles, locate
from medte_haystack.encoder.models import DEFAULT_MODEL, ModelSpec
from medte_haystack.encoder.stream import Flow, Reading, Timed, read_windows, tokenise
from medte_haystack.encoder.tokenise import Tokeniser, check_string
from medte_haystack.errors import EncoderOptionError

logger = logging.getLogger(__name__)

Kind = Literal["query", "passage"]


@dataclass(frozen=True, slots=True)
class EncodeStats:
    """What an encoder has done since it was loaded.

    :param texts: Texts encoded.
    :param tokens: Tokens computed, special tokens included, padding not.
    :param truncated: Texts that were longer than the model takes and lost their end.
    :param seconds: Time spent tokenising and computing.
    """

    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    seconds: float = 0.0

    def __add__(self, other: "EncodeStats") -> "EncodeStats":
        return EncodeStats(
            self.texts + other.texts,
            self.tokens + other.tokens,
            self.truncated + other.truncated,
            self.seconds + other.seconds,
        )

    def __sub__(self, other: "EncodeStats") -> "EncodeStats":
        return EncodeStats(
            self.texts - other.texts,
            self.tokens - other.tokens,
            self.truncated - other.truncated,
            self.seconds - other.seconds,
        )


class Encoder:
    """Turns texts into unit vectors. Make one with :meth:`Encoder.load`.

    What odd input gives: an empty or blank text is a valid input and gets the vector of its two special tokens; a text
    longer than `max_tokens` is cut at its end, counted in :attr:`stats` and reported by a warning, once a call (by
    :meth:`encode_one` once in all); a lone surrogate counts as U+FFFD; NUL and other control characters are dropped by
    BERT's tokenizer; any script is accepted (what a model never saw becomes its unknown token).
    """

    def __init__(
        self, files: ModelFiles, tokeniser: Tokeniser, backend: Backend, truncate_dim: int | None = None
    ) -> None:
        self.files = files
        self.tokeniser = tokeniser
        self.backend = backend
        self._computed = files.spec.full_dim or files.spec.dim
        self.dim = truncate_dim or files.spec.dim
        """Dimensions of a vector."""
        self._stats = EncodeStats()
        self._lock = threading.Lock()
        self._told = False

    @classmethod
    def load(
        cls,
        model: str | PathLike[str] = DEFAULT_MODEL,
        *,
        device: str | None = None,
        precision: str = "auto",
        max_tokens: int | None = None,
        truncate_dim: int | None = None,
        revision: str | None = None,
        token: str | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load a model.

        :param model: Registry name (``medte``, ``minilm``, …), local folder, or hub id.
        :param device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``; ``cuda:all`` or a list like ``cuda:0,cuda:1`` for several
            GPUs, one process each; None takes a GPU where there is one.
        :param precision: What is computed in; vectors are float32 in any case. ``auto`` is the fastest on this machine
            that keeps cosine 0.9999 to float32. Else ``fp32``, ``bf16``, ``int8`` (CPU) or ``fp8`` (GPU).
        :param max_tokens: Cut texts at another length than the model's own (special tokens included).
        :param truncate_dim: Keep only the first dimensions, scaled to unit length again; sensible with models trained
            for it (Matryoshka representation learning). None takes what the model's own files say.
        :param revision: Hub commit, tag or branch instead of the registry's.
        :param token: Hub token; never logged.
        :param local_files_only: Never ask the hub.
        :raises ModelNotAvailableError: If the model's files cannot be had.
        :raises ModelError: If they are damaged or do not fit together.
        :raises EncoderOptionError: If an option is unknown or not to be had on this machine.
        """
        check_precision(precision)
        if device is not None and not isinstance(device, str):
            raise EncoderOptionError(f"device is {device!r}; give a string: {DEVICES}", device=device)
        files = locate(model, revision=revision, token=token, local_files_only=local_files_only)
        most = files.spec.full_dim or files.spec.dim
        if truncate_dim is not None and not 1 <= truncate_dim <= most:
            raise EncoderOptionError(
                f"truncate_dim is {truncate_dim}; model {files.spec.name!r} has 1 to {most} dimensions",
                truncate_dim=truncate_dim,
            )
        tokeniser = Tokeniser.of(files, max_tokens)
        return cls(files, tokeniser, load_backend(files, device, precision), truncate_dim)

    def __copy__(self) -> Self:
        """Return an encoder that shares the loaded model and counts for itself."""
        return type(self)(self.files, self.tokeniser, self.backend, self.dim)

    def __deepcopy__(self, memo: object) -> Self:
        """Do the same: a loaded model does not change, and is large."""
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what the model is loaded from, not the model; it must lie in the same place where it is unpickled."""
        return _load_again, (type(self), self.files, self.device, self.precision, self.max_tokens, self.dim)

    @property
    def spec(self) -> ModelSpec:
        """The model as it is used."""
        return self.files.spec

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, special tokens included."""
        return self.tokeniser.max_tokens

    @property
    def device(self) -> str:
        """Where it computes, e.g. ``cpu``."""
        return self.backend.device

    @property
    def precision(self) -> str:
        """What is computed in, e.g. ``fp32``."""
        return self.backend.precision

    @property
    def stats(self) -> EncodeStats:
        """What has been encoded since the model was loaded; take the difference of two for one run's share."""
        return self._stats

    @cached_property
    def weights_sha256(self) -> str:
        """The sha256 over the weight files, in hex."""
        return self.files.weights_sha256()

    def prefix(self, kind: Kind | None) -> str:
        """Return what the model wants before a query or a passage; nothing for None.

        :raises EncoderOptionError: If the kind is neither.
        """
        if kind == "query":
            return self.spec.query_prefix
        if kind == "passage":
            return self.spec.passage_prefix
        if kind is None:
            return ""
        raise EncoderOptionError(f"kind is {kind!r}; it must be 'query', 'passage' or None", kind=kind)

    def encode(
        self, texts: Sequence[str], kind: Kind | None = "passage", *, max_texts: int | None = None
    ) -> NDArray[np.float32]:
        """Encode texts.

        :param texts: The texts, in any number.
        :param kind: Whether they are queries or passages, which decides the model's prefix; None puts none before them.
        :param max_texts: Most texts of a batch, beside the token budget.
        :returns: Unit vectors in input order, float32, shape (n, dim).
        :raises TypeError: If `texts` is a single string, a mapping or an iterator, or holds what is no string.
        :raises EncoderOptionError: If `kind` is unknown or `max_texts` below 1.
        """
        if isinstance(texts, Iterator) or not isinstance(texts, Sized):
            raise TypeError(f"texts is of type {type(texts).__name__}; give a list, or take encode_stream")
        stream = self.encode_stream(texts, kind, max_texts=max_texts)
        for position, text in enumerate(texts):  # before any of them is computed
            check_string(text, position)
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for row, vector in enumerate(stream):
            vectors[row] = vector
        return vectors

    def encode_stream(
        self,
        texts: Iterable[str],
        kind: Kind | None = "passage",
        *,
        max_texts: int | None = None,
        on_truncated: Callable[[int], object] | None = None,
        beside: Callable[[], int] | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Encode a stream of any length in bounded memory.

        Texts are read ahead in windows of some batches, sorted by length inside.

        :param texts: The texts; read only as far as needed.
        :param kind: See :meth:`encode`.
        :param max_texts: Most texts of a batch, beside the token budget.
        :param on_truncated: Called with the position of each text that loses its end, in order and before its vector
            is given; to report it is then left to the caller.
        :param beside: Called for each text that was read: how many characters the caller keeps beside it, such as
            metadata, until its vector is given. Fewer texts are read ahead if these are many.
        :returns: One unit vector a text in input order, float32, shape (dim,).
        :raises TypeError: If `texts` is a single string or a mapping, or one of them is no string.
        :raises EncoderOptionError: If `kind` is unknown or `max_texts` below 1.
        """
        if isinstance(texts, str):
            raise TypeError("texts is a single string; give a list of strings")
        if isinstance(texts, Mapping) or not isinstance(texts, Iterable):
            raise TypeError(f"texts is of type {type(texts).__name__}; give a list of strings")
        if max_texts is not None and max_texts < 1:
            raise EncoderOptionError(f"a batch of {max_texts} texts cannot be; take 1 or more", max_texts=max_texts)
        return self._stream(texts, self.prefix(kind), max_texts, on_truncated, beside)

    def encode_one(self, text: str, kind: Kind | None = "query") -> NDArray[np.float32]:
        """Encode one text by the way with the least delay: no window, no threads of ours.

        :param text: The text.
        :param kind: See :meth:`encode`.
        :returns: Its unit vector, float32, shape (dim,).
        :raises TypeError: If `text` is no string.
        :raises EncoderOptionError: If `kind` is unknown.
        """
        started = time.perf_counter()
        check_string(text, 0)
        tokens = self.tokeniser([self.prefix(kind) + text])
        vector = self._shorten(self.backend.embed_one(tokens.ids[0]))
        self._count(EncodeStats(1, len(tokens.ids[0]), len(tokens.truncated), time.perf_counter() - started))
        if tokens.truncated:
            logger.log(
                logging.DEBUG if self._told else logging.WARNING,
                "a text was longer than %d tokens and lost its end; others are counted, in stats.truncated",
                self.max_tokens,
            )
            self._told = True
        return vector

    def _stream(
        self,
        texts: Iterable[str],
        prefix: str,
        max_texts: int | None,
        on_truncated: Callable[[int], object] | None,
        beside: Callable[[], int] | None,
    ) -> Iterator[NDArray[np.float32]]:
        reading = Reading(texts)
        windows = read_windows(reading, self.backend, beside)
        tokens = tokenise(windows, self.tokeniser, prefix, self.backend.device)
        flow = Flow(tokens, reading, self.backend, max_texts, self._computed, on_truncated)
        computing = Timed(flow)
        counted = 0.0
        try:
            for window in computing:
                seconds = computing.seconds - reading.seconds
                self._count(EncodeStats(len(window.vectors), window.tokens, window.truncated, seconds - counted))
                counted = seconds
                yield from self._shorten(window.vectors)
            reading.check()
        finally:  # also when the reader stops early
            if flow.truncated and on_truncated is None:
                logger.warning(
                    "%d of %d texts were longer than %d tokens and lost their end",
                    flow.truncated,
                    flow.texts,
                    self.max_tokens,
                )

    def _shorten(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.dim == self._computed:
            return vectors
        kept = vectors[..., : self.dim]
        shortened: NDArray[np.float32] = kept / np.linalg.norm(kept, axis=-1, keepdims=True)
        return shortened

    def _count(self, done: EncodeStats) -> None:
        with self._lock:
            self._stats += done


@lru_cache(maxsize=2)  # a process pool sends the same encoder, or query and document encoder, with every task
def _load_again(
    kind: type[Encoder], files: ModelFiles, device: str, precision: str, max_tokens: int, dim: int
) -> Encoder:
    return kind(files, Tokeniser.of(files, max_tokens), load_backend(files, device, precision), dim)
