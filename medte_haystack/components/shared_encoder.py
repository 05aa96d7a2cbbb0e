"""One loaded encoder for all components that ask for the same, and what the embedders' options mean for it."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from haystack.utils import ComponentDevice, Device, DeviceMap, Secret

from medte_haystack.encoder import DEVICES, Encoder
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


def component_device(device: ComponentDevice | str | None) -> ComponentDevice | str | None:
    """Return a device option as Haystack serialises devices; only ``cuda:all`` stays a string.

    :raises EncoderOptionError: If it names no device.
    """
    if device is None or isinstance(device, ComponentDevice) or device == "cuda:all":
        return device
    try:
        names = [name.strip() for name in device.split(",")]
        if len(names) == 1:
            return ComponentDevice.from_str(names[0])
        return ComponentDevice.from_multiple(DeviceMap({name: Device.from_str(name) for name in names}))
    except (AttributeError, ValueError) as error:
        raise EncoderOptionError(
            f"device {device!r} is unknown; take a ComponentDevice or one of {DEVICES}", device=device
        ) from error


def device_name(device: ComponentDevice | str | None) -> str | None:
    """Return a device as the encoder names it: the devices of a map as a list, each of them once."""
    if device is None or isinstance(device, str):
        return device
    if device.has_multiple_devices:
        return ",".join(dict.fromkeys(device.to_dict()["device_map"].values()))
    return device.to_torch_str()


def check_strings(*, may_be_none: bool = False, **options: object) -> None:
    """Check that options are strings.

    :raises EncoderOptionError: If one is not.
    """
    for name, value in options.items():
        if not isinstance(value, str) and not (may_be_none and value is None):
            raise EncoderOptionError(f"{name} is {value!r}; give a string", **{name: value})


def check_whole_number(name: str, value: object, *, least: int, may_be_none: bool = True) -> None:
    """Check that an option is a whole number of at least so much.

    :raises EncoderOptionError: If it is not.
    """
    if value is None and may_be_none:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise EncoderOptionError(f"{name} is {value!r}; take a whole number of {least} or more", **{name: value})


def max_tokens_of(tokenizer_kwargs: Mapping[str, Any] | None) -> int | None:
    """Return the one tokenizer option that has a meaning here, ``model_max_length``.

    :raises EncoderOptionError: If there are others, or it is no number of tokens.
    """
    others = set(tokenizer_kwargs or {}) - {"model_max_length"}
    if others:
        raise EncoderOptionError(
            f"tokenizer_kwargs {', '.join(sorted(others))} cannot be honoured; only model_max_length is known here"
        )
    found: int | None = (tokenizer_kwargs or {}).get("model_max_length")
    check_whole_number("model_max_length", found, least=3)
    return found


def refuse_foreign_options(
    *,
    trust_remote_code: bool,
    backend: str,
    precision: str,
    model_kwargs: Mapping[str, Any] | None,
    config_kwargs: Mapping[str, Any] | None,
    encode_kwargs: Mapping[str, Any] | None,
    quantization_ranges: object,
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
    if quantization_ranges is not None:
        raise EncoderOptionError(
            "quantization_ranges cannot be honoured: embeddings are not quantised; quantise the index instead:"
            " MedTEDocumentStore(quantisation='int8' or 'bbq')"
        )
    given = {"model_kwargs": model_kwargs, "config_kwargs": config_kwargs, "encode_kwargs": encode_kwargs}
    for name, value in given.items():
        if value:
            raise EncoderOptionError(
                f"{name} ({', '.join(sorted(value))}) cannot be honoured; use precision, device, batch_size and"
                " truncate_dim"
            )
