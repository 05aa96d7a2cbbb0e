"""Quantised models on disk, so that calibration is paid for once a machine.

A file's name derives from all it was made from: the weights, the calibration texts and the way of quantising. So what
is stale is never found. A hash of its content stands in the file, and what is damaged is made anew. Of two processes at
once one waits for the other, and a file appears whole or not at all.
"""

import hashlib
import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout
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
_TOKENISING = ("config.json", "tokenizer.json", "vocab.txt", "sentence_bert_config.json")
_SILENCE, _PATIENCE = 3, 600  # seconds that another process is waited for without a word, and in all


def cache_folder() -> Path:
    """Return where quantised models are kept: ``MEDTE_CACHE``, or `medte` in the user's cache folder.

    :raises FileNotFoundError: If the user has no home folder, and nothing else is named.
    """
    try:
        if chosen := os.environ.get("MEDTE_CACHE"):
            return Path(chosen).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medte"
    except RuntimeError as error:  # a user that the system does not know, as in many containers
        raise FileNotFoundError(f"there is no home folder to keep files in ({error}); set MEDTE_CACHE") from error


def quantised(files: ModelFiles, bert: Bert) -> list[Int8Layer]:
    """Return a model's layers in 8 bits, from the cache if it has them; a cache that is of no use is done without."""
    name = f"{files.spec.name.replace('/', '--')}-int8-{_key(files)[:16]}.safetensors"
    try:
        path = cache_folder() / name
    except FileNotFoundError as error:
        _warn(Path("~"), error)
        return _calibrated(files, bert)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        alone = _locked(path.with_suffix(".lock"))
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


def _locked(path: Path) -> AcquireReturnProxy[FileLock]:
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=_SILENCE)  # so long another process may read the model
    except Timeout:
        logger.warning("waiting until another process has calibrated the same model (%s)", path)
        return lock.acquire(timeout=_PATIENCE)


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
    read = [TEXTS, *(files.folder / name for name in _TOKENISING)]
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
        f"{number}.{linear.name}.{part.name}": getattr(getattr(layer, linear.name), part.name)
        for number, layer in enumerate(layers)
        for linear in fields(Int8Layer)
        for part in fields(Int8Weights)
    }
    unfinished = path.with_name(f"{path.stem}-{secrets.token_hex(8)}.part")
    try:
        unfinished.touch()
        mode = unfinished.stat().st_mode  # the umask's; safetensors makes files that nobody else may read
        save_file(tensors, unfinished, metadata={_HASH: _hash(tensors)})
        unfinished.chmod(mode)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _hash(tensors: Mapping[str, Tensor]) -> str:
    whole = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole.update(tensor.contiguous().numpy().data)
    return whole.hexdigest()
