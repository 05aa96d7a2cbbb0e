"""One loaded encoder for all components that ask for the same, and what the embedders' options mean for it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from haystack.utils import ComponentDevice, Secret

from medte_haystack.encoder import Encoder
from medte_haystack.errors import EncoderOptionError


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """What decides which encoder is loaded; equal options share one.

    :param token: Hub token; resolved when the model is loaded.
    """

    model: str
    device: str | None
    precision: str
    max_tokens: int | None
    truncate_dim: int | None
    revision: str | None
    local_files_only: bool
    token: Secret | None

    def load(self) -> Encoder:
        """Return the encoder, loading it if no component has yet."""
        with _lock:
            if self not in _loaded:
                _loaded[self] = Encoder.load(
                    self.model,
                    device=self.device,
                    precision=self.precision,
                    max_tokens=self.max_tokens,
                    truncate_dim=self.truncate_dim,
                    revision=self.revision,
                    token=self.token.resolve_value() if self.token else None,
                    local_files_only=self.local_files_only,
                )
            return _loaded[self]


_loaded: dict[EncoderOptions, Encoder] = {}
_lock = threading.Lock()


def device_name(device: ComponentDevice | None) -> str | None:
    """Return a Haystack device as the encoder names it: the devices of a map as a list, each of them once."""
    if device is None:
        return None
    if device.has_multiple_devices:
        return ",".join(dict.fromkeys(device.to_dict()["device_map"].values()))
    return device.to_torch_str()


def max_tokens_of(tokenizer_kwargs: Mapping[str, Any] | None) -> int | None:
    """Return the one tokenizer option that has a meaning here, ``model_max_length``.

    :raises EncoderOptionError: If there are others.
    """
    others = set(tokenizer_kwargs or {}) - {"model_max_length"}
    if others:
        raise EncoderOptionError(
            f"tokenizer_kwargs {', '.join(sorted(others))} cannot be honoured; only model_max_length is known here"
        )
    found = (tokenizer_kwargs or {}).get("model_max_length")
    return None if found is None else int(found)


def refuse_foreign_options(
    *,
    trust_remote_code: bool,
    backend: str,
    precision: str,
    model_kwargs: Mapping[str, Any] | None,
    config_kwargs: Mapping[str, Any] | None,
    encode_kwargs: Mapping[str, Any] | None,
) -> None:
    """Refuse options of the sentence-transformers embedders that cannot be honoured here, saying what to do instead.

    :raises EncoderOptionError: If one is set.
    """
    if trust_remote_code:
        raise EncoderOptionError("trust_remote_code=True is refused: a model's own code is never run")
    if backend != "torch":
        raise EncoderOptionError(f"backend {backend!r} is not known here; leave it out, the fastest is chosen")
    if precision in {"uint8", "binary", "ubinary"}:
        raise EncoderOptionError(
            f"precision {precision!r} would quantise the embedding; quantise the index instead:"
            " MedTEDocumentStore(quantisation='int8' or 'bbq')",
            precision=precision,
        )
    given = {"model_kwargs": model_kwargs, "config_kwargs": config_kwargs, "encode_kwargs": encode_kwargs}
    for name, value in given.items():
        if value:
            raise EncoderOptionError(
                f"{name} ({', '.join(sorted(value))}) cannot be honoured; use precision, device, batch_size and"
                " truncate_dim"
            )
