"""What is kept of an evaluation: mteb's own result file, and beside it everything that led to it."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from medte_eval.files import write_whole
from medte_eval.items import Items, trec_qrels, trec_run

if TYPE_CHECKING:
    from mteb.results import TaskResult

HEADLINE: Mapping[str, Sequence[str]] = {
    "Retrieval": ("ndcg_at_10", "recall_at_10", "recall_at_1", "mrr_at_10"),
    "Classification": ("f1", "accuracy"),
    "Clustering": ("v_measure",),
    "PairClassification": ("similarity_f1", "similarity_ap", "similarity_accuracy"),
}
"""Scores that are printed, by mteb's task types; of other types the main score."""
STATE: Mapping[str, str] = {
    "name": "task",
    "data_sha256": "data",
    "sampled_queries": "queries drawn",
    "subsets": "subsets",
    "splits": "splits",
    "seed": "seed",
    "top_k": "documents asked for",
    "ignore_identical_ids": "documents with a query's id left out",
}
"""What of a task two results must share to be comparable, and how it is called."""
PREFIXES = ("query_prefix", "passage_prefix")
"""Of a model in a result: what it put before queries and passages."""
RUN_SUFFIX = ".run.json"
_PACKAGES = ("medte", "mteb", "torch", "transformers", "elasticsearch", "numpy")


class ResultError(ValueError):
    """A result file that cannot be used."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One task run on one system.

    :param result: mteb's own result.
    :param task: Name, description and data of the task.
    :param system: Name and settings of the system; version of the server, if there was one.
    :param model: What the model is; its ``name`` is None if there was none.
    :param counts: Queries, documents, chunks, truncated texts, and source rows left out.
    :param seconds: Of indexing and searching.
    :param notes: What a reader of the scores must know.
    :param details: The index's mapping and size.
    :param latency: Of single queries; see `measure_latency`.
    :param items: Rankings, judgements, and scores of each query, pair or text.
    """

    result: "TaskResult"
    task: Mapping[str, Any]
    system: Mapping[str, Any]
    model: Mapping[str, Any]
    counts: Mapping[str, int]
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    latency: Mapping[str, Any] | None = None
    items: Items = field(default_factory=Items)

    @property
    def scores(self) -> dict[str, float]:
        """The scores that are printed, in [0, 1], each the mean over the task's splits and subsets."""
        every = [one for of_split in self.result.scores.values() for one in of_split]
        names = dict.fromkeys((*HEADLINE.get(self.task["type"], ()), self.main_score))
        kept = {name: [float(one[name]) for one in every] for name in names if all(name in one for one in every)}
        return {name: math.fsum(values) / len(values) for name, values in kept.items()}

    @property
    def main_score(self) -> str:
        """Name of the task's main score."""
        return str(self.task["main_score"])

    @property
    def key(self) -> str:
        """What the same evaluation has again, and one of other data, settings or weights has not."""
        return key_of(self.task, self.system, self.model)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values: all but mteb's further scores and the single items."""
        found = {
            "key": self.key,
            "task": dict(self.task),
            "system": dict(self.system),
            "model": dict(self.model),
            "scores": self.scores,
            "counts": dict(self.counts),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "latency": None if self.latency is None else dict(self.latency),
            "phases": [dict(phase) for phase in self.result.evaluation_phases or ()],
            "notes": list(self.notes),
            "versions": {name: version(name) for name in _PACKAGES},
            **self.details,
        }
        finite: dict[str, Any] = _finite(found)
        return finite

    def file_stem(self) -> str:
        """Return a file name that the same evaluation has again, and another has not."""
        return file_stem(self.task, self.system, self.model)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write its files, each of them whole or not at all; the same evaluation overwrites its earlier files.

        mteb's `TaskResult` (``*.json``), the rankings and judgements in TREC's formats (``*.trec``, ``*.qrels``), a
        line for every query, pair or text (``*.items.jsonl``), and, when the others are there, all the rest
        (``*.run.json``), which names them.

        :param folder: Where; it is made when it is missing.
        :returns: What was written into the last.
        :raises OSError: If a file cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        stem = self.file_stem()
        files: dict[str, str] = {}

        def put(kind: str, name: str, parts: Iterable[str]) -> None:
            write_whole(folder / name, parts)
            files[kind] = name

        put("mteb", f"{stem}.json", [_mteb_json(self.result)])
        if self.items.rows:
            lines = (json.dumps(_finite(row), allow_nan=False) + "\n" for row in self.items.rows)
            put("items", f"{stem}.items.jsonl", lines)
        if self.items.qrels:
            judged = f"{readable(self.task['name'])}__{self.task['data_sha256'][:12]}.qrels"
            put("run", f"{stem}.trec", trec_run(self.items.run, stem))
            put("qrels", judged, trec_qrels(self.items.qrels))
        found = {**self.to_dict(), "files": files}
        text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)
        write_whole(folder / f"{stem}{RUN_SUFFIX}", [text, "\n"])
        return found


def key_of(task: Mapping[str, Any], system: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Return a hash of everything that decides a result: data, settings, model and its weights, server version."""
    data = {name: task.get(name) for name in ("type", *STATE)}
    decides = json.dumps([data, dict(system), dict(model)], sort_keys=True, default=str)
    return hashlib.sha256(decides.encode()).hexdigest()


def file_stem(task: Mapping[str, Any], system: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """Return the name of a result's files, without their endings."""
    words = (task["name"], model["name"] or "no-model", system["name"])
    return f"{'__'.join(map(readable, words))}__{key_of(task, system, model)[:12]}"


def read_result(path: Path) -> dict[str, Any]:
    """Read what :meth:`Outcome.write` wrote last.

    :param path: A file ``*.run.json``.
    :raises ResultError: If it cannot be read, is none, or files that it names are missing.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        missing = [name for name in found["files"].values() if not (path.parent / name).is_file()]
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ResultError(f"{path} is no result of `medte-eval run`; name one of its *{RUN_SUFFIX}") from None
    if missing:
        raise ResultError(f"{path} names {missing[0]}, which is not there; run the task again")
    return dict(found)


def earlier_result(
    folder: Path, task: Mapping[str, Any], system: Mapping[str, Any], model: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the result that a folder has of the same evaluation; None if it has none that is whole."""
    try:
        found = read_result(folder / f"{file_stem(task, system, model)}{RUN_SUFFIX}")
    except ResultError:
        return None
    return found if found.get("key") == key_of(task, system, model) else None


def of_another_model(
    folder: Path, task: Mapping[str, Any], system: Mapping[str, Any], model: Mapping[str, Any]
) -> str | None:
    """Tell of a result of the same evaluation with other weights of a model of the same name; None if there is none."""
    stem = file_stem(task, system, model).rpartition("__")[0]
    for path in sorted(folder.glob(f"{stem}__*{RUN_SUFFIX}")):
        try:
            found = read_result(path)
        except ResultError:
            continue
        theirs = found["model"]
        states = {name: (theirs.get(name), model.get(name)) for name in ("revision", "weights_sha256")}
        changed = {name: both for name, both in states.items() if both[0] != both[1]}
        if changed and found.get("key") == key_of(task, system, theirs):
            told = " and ".join(f"{name} {str(old)[:12]}, now {str(new)[:12]}" for name, (old, new) in changed.items())
            return f"{path.name} was made with another {model['name']} ({told})"
    return None


def readable(word: object) -> str:
    """Return a word as it stands in names of files."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", str(word)).strip("-")


def _mteb_json(result: "TaskResult") -> str:
    """Return mteb's file of a result, without what could not be computed: NaN is no JSON."""
    with TemporaryDirectory() as place:
        path = Path(place) / "result.json"
        result.model_copy(update={"scores": _finite(result.scores)}).to_disk(path)
        return path.read_text("utf-8")


def _finite(value: Any) -> Any:
    """Return JSON-able values without numbers that are none: left out of objects, null in lists."""
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items() if not _is_nan(one)}
    if isinstance(value, list | tuple):
        return [None if _is_nan(one) else _finite(one) for one in value]
    return value


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
