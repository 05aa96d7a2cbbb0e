"""The card of a trained model: what it was trained on and how, and what came of it. Never a text of the data."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_SHOWN = frozenset({"model", "data", "batches", "loss", "optimiser", "run", "output"})
_OF_THE_MACHINE = frozenset({"base", "pairs", "device", "workers", "log_every"})
_TOLD_APART = frozenset({"decontaminate", "decontaminate_against"})


def write_card(
    record: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    steps: int,
    history: Sequence[Mapping[str, float]],
    scores: Mapping[str, Mapping[str, float]],
    cleaned: Mapping[str, Any],
) -> str:
    """Return a README.md with the metadata that the Hugging Face hub reads.

    :param record: The run's.
    :param sources: As in `Trained`.
    :param steps: Batches trained on.
    :param history: The trainer's lines of numbers.
    :param scores: As in `Trained`.
    :param cleaned: Report of what was left out as evaluation data holds it; empty if nothing was compared.
    """
    config, base = record["config"], record["base"]
    parts = [
        *_front_matter(config["output"]["licence"], base),
        f"# A medical embedding model from {base['name']}",
        "",
        f"Trained by `medte-train run` from {base['name']} (weights sha256 `{base['weights_sha256'][:12]}`) on"
        f" {steps:,} batches of up to {config['batches']['size']}, drawn from"
        f" {sum(source['pairs'] for source in sources):,} pairs of texts. {_negatives(config)}",
        "",
        *_dimensions(config),
        "## Data",
        "",
        *_table(
            ("source", "pairs", "share of batches", "with hard negatives", "left out as repeated"),
            (
                (
                    one["source"],
                    f"{one['pairs']:,}",
                    f"{one['share']:.1%}",
                    f"{one['with_negatives']:,}",
                    f"{one['repeated']:,}",
                )
                for one in sources
            ),
        ),
        "",
        f"The sha256 over all of them is `{record['pairs_sha256'][:12]}`. Check the licences of the data before you"
        " pass the weights on.",
        "",
        *_decontamination(cleaned),
        *_scores(scores, history, config["evaluation"]),
        "## Settings",
        "",
        "```toml",
        *_settings(config),
        "```",
        "",
        f"Made with {', '.join(f'{name} {number}' for name, number in record['versions'].items())}, on"
        f" {record['devices']} device{'s' * (record['devices'] > 1)}.",
        "",
        "## Limits",
        "",
        "Its vectors tell how alike texts are in what they speak of. They are no medical advice and no substitute for"
        " clinical judgement.",
        "",
    ]
    return "\n".join(parts)


def _settings(config: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the tables that decide the weights as TOML, without what is left at nothing."""
    lines = []
    for name in (name for name in config if name in _SHOWN):
        given = {key: value for key, value in config[name].items() if value not in (None, [], {})}
        shown = (key for key in given if key not in _OF_THE_MACHINE | _TOLD_APART)
        lines += [f"[{name}]", *(f"{key} = {_toml(given[key])}" for key in shown)]
    return lines


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(Path(value).name if isinstance(value, str) and Path(value).is_dir() else value)


def _decontamination(cleaned: Mapping[str, Any]) -> list[str]:
    lines = ["## Decontamination", ""]
    if not cleaned:
        return [*lines, "None: the pairs were not compared with any evaluation data, and may hold some of it.", ""]
    counts: Counter[str] = Counter()
    for source in cleaned["sources"].values():
        counts.update({task: sum(found.values()) for task, found in source["tasks"].items()})
    rows = ((task.rpartition("/")[2], f"{rows:,}", f"{counts[task]:,}") for task, rows in cleaned["against"].items())
    head = ("evaluation data", "rows", "pairs left out that occur in it")
    return [*lines, *_table(head, rows), ""]


def _front_matter(licence: str | None, base: Mapping[str, Any]) -> list[str]:
    metadata = {
        "language": "en",
        "license": licence or "other",
        "base_model": base["name"],
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
    }
    lines = [f"{name}: {json.dumps(value)}" for name, value in metadata.items()]
    return ["---", *lines, "tags: [medical, sentence-transformers, feature-extraction, medte]", "---", ""]


def _negatives(config: Mapping[str, Any]) -> str:
    batches, data = config["batches"], config["data"]
    hard = f" and up to {data['negatives']} mined ones of each pair" if data["negatives"] else ""
    where = "of one source" if data["one_source_per_batch"] else "of all sources"
    alike = ", and of texts that are alike" if batches["kind"] == "locality" else ""
    return f"Batches are {where}{alike}; negatives are the other texts of the batch{hard}."


def _dimensions(config: Mapping[str, Any]) -> list[str]:
    dims, kept = config["loss"]["matryoshka"], config["output"]["truncate_dim"]
    lines = []
    if dims:
        lines.append(f"Trained to be cut to {', '.join(map(str, dims))} dimensions (Matryoshka).")
    if kept:
        lines.append(f"`config_sentence_transformers.json` tells encoders to keep {kept} dimensions (`truncate_dim`).")
    if share := config["output"]["base_share"]:
        lines.append(f"The weights are averaged with the base model's, which have a share of {share} (WiSE-FT).")
    return [*lines, ""] if lines else []


def _scores(
    scores: Mapping[str, Mapping[str, float]], history: Sequence[Mapping[str, float]], evaluation: Mapping[str, Any]
) -> list[str]:
    if not scores:
        return []
    told = "Main scores of `medte-eval`'s tasks."
    if evaluation["keep_best"]:
        told += f" The weights were chosen by them ({evaluation['score']}), so they are no test of this model."
    names = list(scores.get("model") or scores.get("base") or ())
    rows: list[tuple[str, ...]] = []
    if base := scores.get("base"):
        rows.append(("base model", *_numbers(base, names)))
    rows += [
        (f"step {int(line['step']):,}", *_numbers({name: line[f"eval_{name}"] for name in names}, names))
        for line in history
        if all(f"eval_{name}" in line for name in names)
    ]
    if final := scores.get("model"):
        rows.append(("**this model**", *_numbers(final, names)))
    return ["## Scores", "", told, "", *_table(("", *names), rows), ""]


def _numbers(scores: Mapping[str, float], names: Iterable[str]) -> list[str]:
    return [f"{scores[name]:.4f}" for name in names]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
