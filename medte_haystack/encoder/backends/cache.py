"""Quantised models on disk, so that calibration is paid for once a machine.

A file's name derives from all it was made from: the weights, the calibration texts and the way of quantising. So what
is stale is never found. A hash of its content stands in the file, and what is damaged is made anew. Of two processes at
once one waits for the other, and a file appears whole or not at all.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from medte_haystack.encoder.backends.calibrate import TEXTS, calibrate
from medte_haystack.encoder.backends.int8 import Int8Layer, Int8Weights
from medte_haystack.encoder.bert import Bert
from medte_haystack.encoder.files import ModelFiles

logger = logging.getLogger(__name__)

_FORMAT = 3  # raise it when the way of quantising changes
_HASH = "sha256"
_PATIENCE = 600  # seconds that another process may take to calibrate


def cache_folder() -> Path:
    """Return where quantised models are kept: ``MEDTE_CACHE``, or `medte` in the user's cache folder."""
    if chosen := os.environ.get("MEDTE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medte"


def quantised(files: ModelFiles, bert: Bert) -> list[Int8Layer]:
    """Return a model's layers in 8 bits, from the cache if it has them; a cache that is of no use is done without."""
    path = cache_folder() / f"{files.spec.name.replace('/', '--')}-int8-{_key(files)[:16]}.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        alone = FileLock(path.with_suffix(".lock")).acquire(timeout=_PATIENCE)
    except OSError as error:  # a timeout is one too
        if (layers := _read(path, len(bert.layers))) is not None:  # made before, by someone who may write there
            return layers
        _warn(path, error)
        return _calibrated(files, bert)
    with alone:
        layers = _read(path, len(bert.layers))
        if layers is None:
            layers = _calibrated(files, bert)
            try:
                _write(path, layers)
            except (OSError, SafetensorError) as error:
                _warn(path, error)
        return layers


def _warn(path: Path, error: Exception) -> None:
    logger.warning(
        "the cache folder %s cannot be used (%s): the model is calibrated for this process alone; set MEDTE_CACHE to a"
        " folder that can be written",
        path.parent,
        error,
    )


def _calibrated(files: ModelFiles, bert: Bert) -> list[Int8Layer]:
    # a warning, since nobody expects to wait for so long and few see what is only information
    logger.warning("model %s: calibrating for int8, once on this machine; this takes up to a minute", files.spec.name)
    return calibrate(files, bert)


def _key(files: ModelFiles) -> str:
    read = [TEXTS, *(files.folder / name for name in ("config.json", "tokenizer.json", "vocab.txt"))]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in read if path.is_file()]
    spec = files.spec
    wanted = (_FORMAT, files.weights_sha256(), spec.max_tokens, spec.query_prefix, spec.passage_prefix, *hashes)
    return hashlib.sha256(repr(wanted).encode()).hexdigest()


def _read(path: Path, layers: int) -> list[Int8Layer] | None:
    try:
        if not path.is_file():
            return None
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            stated = (stored.metadata() or {}).get(_HASH)
        if stated != _hash(tensors):
            raise ValueError("its content is not what was written")
        return [
            Int8Layer(
                **{
                    linear.name: Int8Weights(
                        **{part.name: tensors[f"{number}.{linear.name}.{part.name}"] for part in fields(Int8Weights)}
                    )
                    for linear in fields(Int8Layer)
                }
            )
            for number in range(layers)
        ]
    except (SafetensorError, KeyError, OSError, ValueError) as error:
        logger.warning("the cached model %s cannot be read (%s) and is made anew", path, error)
        return None


def _write(path: Path, layers: list[Int8Layer]) -> None:
    tensors = {
        f"{number}.{linear}.{part}": tensor
        for number, layer in enumerate(layers)
        for linear, weights in asdict(layer).items()
        for part, tensor in weights.items()
    }
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".part", delete=False) as file:
        part = Path(file.name)
    try:
        save_file(tensors, part, metadata={_HASH: _hash(tensors)})
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _hash(tensors: Mapping[str, Tensor]) -> str:
    whole = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole.update(tensor.contiguous().numpy().data)
    return whole.hexdigest()
