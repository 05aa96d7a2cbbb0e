"""PyTorch on padded batches: runs on any device and defines what the faster backends must equal."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as transformers_logging

from medte_haystack.encoder.files import ModelFiles
from medte_haystack.encoder.pool import pool
from medte_haystack.errors import EncoderOptionError, ModelError

logger = logging.getLogger(__name__)

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_ALIASES = {"float32": "fp32", "bfloat16": "bf16"}
_BUDGET = {"cpu": 2048, "cuda": 65536, "mps": 8192}  # tokens; small batches keep a CPU's caches warm


class TorchPadded:
    """A transformers model on padded batches, pooled on the device.

    :param files: The model.
    :param device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or None for a GPU where there is one.
    :param precision: ``auto`` (bf16 on a GPU that has it, fp32 elsewhere), ``fp32`` or ``bf16``.
    :raises EncoderOptionError: If device or precision is unknown or not to be had here.
    :raises ModelError: If the weights are missing, damaged, or do not fill the model.
    """

    def __init__(self, files: ModelFiles, device: str | None, precision: str) -> None:
        self.device = _choose_device(device)
        self.precision = _choose_precision(precision, self.device)
        self.token_budget = _BUDGET[torch.device(self.device).type]
        self._pooling = files.spec.pooling
        self._model = _load_model(files, _DTYPES[self.precision]).to(self.device)
        logger.info("model %s on %s in %s", files.spec.name, self.device, self.precision)

    @torch.inference_mode()
    def embed(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return the pooled vectors of a batch of token id lists, unit length, shape (n, dim), in order."""
        lengths = [len(one) for one in ids]
        tokens = np.zeros((len(ids), max(lengths)), dtype=np.int64)
        for row, one in enumerate(ids):
            tokens[row, : len(one)] = one
        mask = np.arange(tokens.shape[1])[None, :] < np.asarray(lengths)[:, None]
        device_mask = torch.from_numpy(mask).to(self.device)
        padded = mask.size != sum(lengths)
        states = self._model(
            input_ids=torch.from_numpy(tokens).to(self.device),
            attention_mask=device_mask.long() if padded else None,  # without padding the faster kernel serves
        ).last_hidden_state
        vectors: NDArray[np.float32] = pool(states, device_mask, self._pooling).cpu().numpy()
        return vectors


def _choose_device(device: str | None) -> str:
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind, number = torch.device(device).type, torch.device(device).index or 0
    except RuntimeError:
        kind, number = "", 0
    if kind not in _BUDGET:
        raise EncoderOptionError(f"device {device!r} is unknown; there are cpu, cuda, cuda:N and mps", device=device)
    there_are = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if number >= there_are:
        raise EncoderOptionError(f"device {device!r} is not on this machine; leave it out or say cpu", device=device)
    return device


def _choose_precision(precision: str, device: str) -> str:
    precision = _ALIASES.get(precision, precision)
    if precision == "auto":
        fast = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported()
        return "bf16" if fast else "fp32"
    if precision not in _DTYPES:
        raise EncoderOptionError(
            f"precision {precision!r} is unknown; there are auto, {', '.join(_DTYPES)}. To quantise the stored vectors,"
            " choose the index's quantisation instead",
            precision=precision,
        )
    return precision


def _load_model(files: ModelFiles, dtype: torch.dtype) -> torch.nn.Module:
    paths = files.weights()
    # A config.json may name code of its own (auto_map); trust_remote_code=False refuses to run it.
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        config = AutoConfig.from_pretrained(files.folder, trust_remote_code=False, local_files_only=True)
        options = {"add_pooling_layer": False} if config.model_type == "bert" else {}
        model, info = AutoModel.from_pretrained(
            files.folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"the model in {files.folder} cannot be loaded ({error}); if it is a BERT-shaped model, fetch it again",
            path=str(paths[0]),
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ModelError(
            f"the weights in {files.folder} lack {len(missing)} tensors of the model, {missing[0]} first;"
            " fetch the model again",
            path=str(files.folder),
            missing=missing,
        )
    evaluated: torch.nn.Module = model.eval()
    return evaluated
