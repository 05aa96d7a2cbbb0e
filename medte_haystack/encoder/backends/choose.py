"""Which backend serves a model on a device in a precision."""

import logging
from collections.abc import Sequence

import torch

from medte_haystack.encoder.backends import DEVICES, Backend, check_precision, cpu, cuda
from medte_haystack.encoder.bert import unlike_bert
from medte_haystack.encoder.files import ModelFiles
from medte_haystack.encoder.models import read_json
from medte_haystack.errors import EncoderOptionError

logger = logging.getLogger(__name__)

_OF_KIND = {"cpu": ("fp32", "bf16", "int8"), "cuda": ("fp32", "bf16", "fp8"), "mps": ("fp32",)}
_OF_FALLBACK = ("fp32", "bf16")


def choose(files: ModelFiles, device: str | None, precision: str) -> Backend:
    """Load the backend; see :func:`~medte_haystack.encoder.backends.load_backend`.

    ``auto`` is the fastest precision that keeps cosine 0.9999 to float32: bf16 where the hardware has it, else fp32. A
    model of another shape than BERT's is computed by sentence-transformers, where that is not known: in fp32.
    """
    devices = find_devices(device)
    asked = check_precision(precision)
    config = read_json(files.folder / "config.json")
    if (unlike := unlike_bert(config)) is None:
        chosen = _precision(asked, devices)
        backend = _load(files, devices, chosen, auto=asked == "auto")
    else:
        chosen = _precision(_fallback_precision(asked, unlike), devices, flash=False)
        backend = _load_fallback(files, devices, chosen, unlike)
    logger.info("model %s on %s in %s", files.spec.name, backend.device, backend.precision)
    return backend


def find_devices(device: str | None) -> list[str]:
    """Return the devices that a device option names, each of them there.

    :raises EncoderOptionError: If one is unknown or not on this machine, or they are of several kinds.
    """
    if device is None:
        return ["cuda" if torch.cuda.is_available() else "cpu"]
    if device == "cuda:all":
        if not (number := torch.cuda.device_count()):
            raise _not_here(device)
        return [f"cuda:{one}" for one in range(number)]
    names = [name.strip() for name in device.split(",")]
    kinds = {_kind(name, device) for name in names}
    if len(kinds) > 1:
        raise EncoderOptionError(
            f"device {device!r} mixes {' and '.join(sorted(kinds))}, whose vectors may differ; name one kind of device",
            device=device,
        )
    return names


def _kind(name: str, option: str) -> str:
    try:
        found = torch.device(name)
    except RuntimeError:
        found = None
    if found is None or found.type not in _OF_KIND:
        raise EncoderOptionError(f"device {option!r} is unknown; there are {DEVICES}", device=option)
    there_are = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[found.type]
    if (found.index or 0) >= there_are:
        raise _not_here(option)
    return found.type


def _not_here(device: str) -> EncoderOptionError:
    return EncoderOptionError(f"device {device!r} is not on this machine; leave it out or say cpu", device=device)


def _precision(asked: str, devices: Sequence[str], *, flash: bool = True) -> str:
    kind = torch.device(devices[0]).type
    if asked == "auto":
        wanted = "bf16" if "bf16" in _OF_KIND[kind] else "fp32"
        return "fp32" if _lacks(wanted, devices) else wanted
    if asked not in _OF_KIND[kind]:
        raise EncoderOptionError(
            f"precision {asked!r} is not to be had on {kind}; there are auto, {', '.join(_OF_KIND[kind])}",
            device=devices[0],
            precision=asked,
        )
    if reason := _lacks(asked, devices, flash=flash):
        raise EncoderOptionError(
            f"precision {asked!r} is not to be had on this machine, which lacks {reason}; take auto or fp32",
            device=devices[0],
            precision=asked,
        )
    return asked


def _lacks(precision: str, devices: Sequence[str], *, flash: bool = True) -> str | None:
    kind = torch.device(devices[0]).type
    if kind == "cpu":
        return cpu.lacks(precision)
    reasons = (cuda.lacks(precision, device, flash=flash) for device in devices) if kind == "cuda" else ()
    return next(filter(None, reasons), None)


def _load(files: ModelFiles, devices: Sequence[str], precision: str, *, auto: bool) -> Backend:
    try:
        return _load_in(precision, files, devices)
    except EncoderOptionError as error:  # a GPU that computes nonsense in it shows that only when it is tried
        if not auto or precision == "fp32":
            raise
        logger.warning("%s", error)
    return _load_in("fp32", files, devices)


def _load_in(precision: str, files: ModelFiles, devices: Sequence[str]) -> Backend:
    if len(devices) > 1:
        return _processes(files, devices, precision)
    (device,) = devices
    if torch.device(device).type == "cpu":
        return cpu.Cpu(files, precision)
    if precision != "fp32":
        return cuda.Cuda(files, device, precision)
    from medte_haystack.encoder.backends.any_device import AnyDevice

    return AnyDevice(files, device)


def _fallback_precision(asked: str, unlike: str) -> str:
    chosen = "fp32" if asked == "auto" else asked
    if chosen not in _OF_FALLBACK:
        raise EncoderOptionError(
            f"precision {asked!r} is there for BERT-shaped models only; of this one, {unlike}, so"
            f" sentence-transformers computes it: take {' or '.join(_OF_FALLBACK)}",
            precision=asked,
        )
    return chosen


def _load_fallback(files: ModelFiles, devices: Sequence[str], precision: str, unlike: str) -> Backend:
    if len(devices) > 1:
        return _processes(files, devices, precision)
    from medte_haystack.encoder.backends.sentence_transformers import SentenceTransformersBackend

    logger.warning(
        "model %s is not a BERT of the usual shape (%s); sentence-transformers computes it, which is slower",
        files.spec.name,
        unlike,
    )
    return SentenceTransformersBackend(files, devices[0], precision)


def _processes(files: ModelFiles, devices: Sequence[str], precision: str) -> Backend:
    from medte_haystack.encoder.backends.processes import Processes

    backend = Processes(files, devices, precision)
    backend.start()
    return backend
