"""Models of other shapes than BERT's, by sentence-transformers."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from medte_haystack.encoder.backends import Batch, cpu
from medte_haystack.encoder.backends.one_by_one import OneByOne
from medte_haystack.encoder.bert import check_finite
from medte_haystack.encoder.files import ModelFiles
from medte_haystack.encoder.models import read_json
from medte_haystack.errors import ModelError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_BUDGET = {"cpu": 2048, "cuda": 16_384, "mps": 8192}  # tokens; a small batch stays in a CPU's caches


class SentenceTransformersBackend(OneByOne):
    """A transformer of any type that sentence-transformers can load, with mean or cls pooling.

    It is given token ids, so that texts are cut and counted as for every other model. Code that comes with a model is
    never run.

    :param files: The model.
    :param device: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    :param precision: ``fp32`` or ``bf16``.
    :raises ModelError: If sentence-transformers is not installed, or the model cannot be loaded or lacks weights.
    """

    def __init__(self, files: ModelFiles, device: str, precision: str) -> None:
        if torch.device(device).type == "cpu":
            cpu.settle()
        self.precision = precision
        self._padding = int(read_json(files.folder / "config.json").get("pad_token_id") or 0)
        self._model = _load(files, device, _DTYPES[precision])
        super().__init__(self._vectors, _BUDGET[torch.device(device).type], device)

    @torch.inference_mode()
    def _vectors(self, batch: Batch) -> NDArray[np.float32]:
        lengths = np.fromiter(map(len, batch), dtype=np.int64, count=len(batch))
        ids = np.full((len(batch), lengths.max()), self._padding, dtype=np.int64)
        for row, one in enumerate(batch):
            ids[row, : len(one)] = one
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        features = {
            "input_ids": torch.from_numpy(ids).to(self.device),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)).to(self.device),
        }
        found = self._model(features)["sentence_embedding"].float()
        vectors: NDArray[np.float32] = torch.nn.functional.normalize(found, dim=1).cpu().numpy()
        return vectors


def _load(files: ModelFiles, device: str, dtype: torch.dtype) -> torch.nn.Module:
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    except ImportError as error:
        raise ModelError(
            f"the model in {files.folder} is not BERT-shaped; it is computed by sentence-transformers, which is not to"
            f" be had ({error}): pip install 'sentence-transformers>=6'",
            path=str(files.folder),
        ) from error
    path = files.weights()[0]
    safely = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet():
            missing, unused = misfits(files)
            transformer = Transformer(
                str(files.folder),
                model_kwargs={"dtype": dtype, "use_safetensors": True, **safely},
                processor_kwargs=dict(safely),
                config_kwargs=dict(safely),
            )
    except Exception as error:
        raise ModelError(
            f"the model in {files.folder} cannot be loaded ({error}); fetch it again, or take a BERT-shaped one",
            path=str(path),
        ) from error
    if missing:
        raise ModelError(
            f"the weights in {files.folder} lack {len(missing)} tensors of the model, {missing[0]} first;"
            " fetch the model again",
            path=str(files.folder),
            missing=missing,
        )
    if unused:
        raise ModelError(
            f"the weights in {files.folder} hold {len(unused)} tensors that transformers does not compute with,"
            f" {unused[0]} first, so the vectors would be wrong; take another model, or a version of transformers that"
            " knows this one",
            path=str(files.folder),
            unused=unused,
        )
    for name, weights in transformer.named_parameters():
        check_finite(name, weights.detach(), files.folder)
    pooling = Pooling(files.spec.full_dim or files.spec.dim, pooling_mode=files.spec.pooling)
    model: torch.nn.Module = SentenceTransformer(modules=[transformer, pooling], device=device).eval()
    return model


def misfits(files: ModelFiles) -> tuple[list[str], list[str]]:
    """Return the names of weights that the files lack, which would be random, and of a layer's that go unused."""
    from transformers import AutoModel

    _, info = AutoModel.from_pretrained(
        files.folder,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
    )
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    return missing, sorted(key for key in info["unexpected_keys"] if re.search(r"\blayers?\.\d+\.", key))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from drawing progress bars and from reporting what is an error of ours anyway."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
