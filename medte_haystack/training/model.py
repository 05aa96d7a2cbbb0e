"""The model in training: loaded from any folder that encoders take, and written as one that they take."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import torch
from safetensors import safe_open
from torch import Tensor

from medte_haystack.encoder.backends.sentence_transformers import misfits, quiet
from medte_haystack.encoder.files import ModelFiles
from medte_haystack.encoder.models import Pooling as PoolingName
from medte_haystack.errors import ModelError, TrainingConfigError, TrainingOutputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def load_model(
    files: ModelFiles, *, pooling: PoolingName | None = None, max_tokens: int | None = None, device: str = "cpu"
) -> "SentenceTransformer":
    """Load a model in float32, whatever its files are in: transformer, pooling, normalisation to unit length.

    :param pooling: Another than the model's own.
    :param max_tokens: Longest text, as written into the files of what is trained.
    :raises ModelError: If it cannot be loaded or lacks weights.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    paths = files.weights()  # which refuses what is pickled
    safely = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet():
            missing, _ = misfits(files)
            transformer = Transformer(
                str(files.folder),
                model_kwargs={"dtype": torch.float32, "use_safetensors": True, **safely},
                processor_kwargs=dict(safely),
                config_kwargs=dict(safely),
                max_seq_length=max_tokens or files.spec.max_tokens,
            )
        with_pooler = any(".pooler." in f".{name}" for path in paths for name in _names(path))
    except Exception as error:
        raise ModelError(f"the model in {files.folder} cannot be loaded ({error})", path=str(files.folder)) from error
    if missing:
        raise ModelError(
            f"the weights in {files.folder} lack {len(missing)} tensors of the model, {missing[0]} first; fetch it"
            " again",
            path=str(files.folder),
        )
    if not with_pooler and hasattr(transformer.model, "pooler"):
        transformer.model.pooler = None  # it would be random, and takes no part
    dim = files.spec.full_dim or files.spec.dim
    modules = [transformer, Pooling(dim, pooling_mode=pooling or files.spec.pooling), Normalize()]
    prompts = {"query": files.spec.query_prefix, "document": files.spec.passage_prefix}
    return SentenceTransformer(modules=modules, device=device, prompts=prompts, similarity_fn_name="cosine")


def _names(path: Path) -> list[str]:
    with safe_open(path, "pt") as file:
        return list(file.keys())


def set_dropout(model: "SentenceTransformer", share: float) -> None:
    """Set the share of activations that training sets to 0; what is written of the model does not change."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share


def save_model(model: "SentenceTransformer", folder: Path, card: str | None = None) -> None:
    """Write a model as safetensors, with all that encoders ask for.

    :param folder: Which must not exist.
    :param card: Text of its README.md.
    :raises TrainingOutputError: If it cannot be written; then nothing is left of it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        half = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}.part")
        try:
            half.mkdir()
            write_files(model, half)
            if card is not None:
                (half / "README.md").write_text(card, encoding="utf-8")
            half.rename(folder)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    except Exception as error:
        raise unwritten(folder, error) from error


def write_files(model: "SentenceTransformer", folder: Path) -> None:
    """Write a model's files. The library's own model card would hold texts of the training data, and is not made."""
    model.save_pretrained(str(folder), create_model_card=False)


def check_finite(model: "SentenceTransformer", step: int) -> None:
    """Check that a model's weights are numbers.

    :raises TrainingConfigError: If one is not.
    """
    if not all(torch.isfinite(weights).all() for weights in model.parameters()):
        raise no_number("a weight is not finite", step)


def no_number(what: str, step: int) -> TrainingConfigError:
    """Return the error for a loss or weights that are no numbers."""
    return TrainingConfigError(
        f"{what} at step {step}; lower optimiser.learning_rate, set optimiser.clip, or compute in fp32"
    )


def unwritten(place: Path, error: Exception) -> TrainingOutputError:
    """Return the error for files that could not be written.

    :param error: What was raised: libraries have errors of their own for a full disk.
    """
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error).strip() or type(error).__name__
    return TrainingOutputError(
        f"{place} cannot be written: {reason.splitlines()[0]}; free space or name another folder. Earlier checkpoints"
        " are whole, and the same command goes on from the last",
        path=str(place),
    )


def average(trained: Mapping[str, Tensor], base: Mapping[str, Tensor], base_share: float) -> dict[str, Tensor]:
    """Return weights between those of two models of one shape.

    ``(1 - base_share) * trained + base_share * base``: WiSE-FT, https://arxiv.org/abs/2109.01903, section 3.

    :param base_share: From 0, which gives the trained ones, to 1.
    :raises ModelError: If the models have other weights or shapes.
    """
    odd = sorted(set(trained) ^ set(base)) or [name for name in trained if trained[name].shape != base[name].shape]
    if odd:
        raise ModelError(
            f"the two models do not have the same weights: {odd[0]} differs; average a model with its base"
        )
    return {name: _between(tensor, base[name].to(tensor.device), base_share) for name, tensor in trained.items()}


def _between(trained: Tensor, base: Tensor, base_share: float) -> Tensor:
    return torch.lerp(trained, base, base_share) if trained.is_floating_point() else trained


def average_models(trained: ModelFiles, base: ModelFiles, base_share: float, folder: Path) -> None:
    """Write a model between two; all but the weights is the trained one's, as is its card but for the scores.

    :param base_share: See `average`.
    :raises ModelError: If one cannot be loaded, or they have other weights or shapes.
    :raises TrainingOutputError: If it cannot be written.
    """
    model = load_model(trained)
    model.load_state_dict(average(model.state_dict(), load_model(base).state_dict(), base_share))
    model.truncate_dim = trained.spec.dim if trained.spec.full_dim else None
    card = trained.folder / "README.md"
    name = base.spec.hub_id or base.spec.name
    save_model(model, folder, _averaged(card.read_text("utf-8"), name, base_share) if card.is_file() else None)


def _averaged(card: str, base: str, base_share: float) -> str:
    """Return a model's card as that of an average: its scores are of other weights."""
    scoreless = re.sub(r"^## Scores\n.*?(?=^## |\Z)", "", card, flags=re.MULTILINE | re.DOTALL)
    head, mark, rest = scoreless.partition("\n## ")
    note = f"Afterwards the weights were averaged with those of {base}, which got a share of {base_share:g} (WiSE-FT)."
    return f"{head}\n{note} Scores were not measured since.\n{mark}{rest}"


def describe_base(files: ModelFiles) -> dict[str, Any]:
    """Return what tells a base model from others."""
    spec = files.spec
    return {
        "name": spec.hub_id or spec.name,
        "revision": spec.revision,
        "weights_sha256": files.weights_sha256(),
        "licence": spec.licence,
    }
