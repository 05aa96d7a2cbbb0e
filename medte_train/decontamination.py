"""Training pairs without what evaluation tasks hold, and counts of what was taken out."""

import csv
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Self

from es_ingest.records import ReadError
from medte_eval.files import write_whole
from medte_eval.tasks import UnknownTaskError, find_tasks
from medte_eval.tasks.benchmark import NAME
from medte_haystack.errors import TrainingConfigError, TrainingDataError, TrainingOutputError
from medte_haystack.training.config import Config
from medte_haystack.training.overlap import BEGINNING, KINDS, SHORT, Found, Overlap
from medte_haystack.training.pairs import Pair
from medte_haystack.training.record import DECONTAMINATION
from medte_train.evaluated import evaluated
from medte_train.pair_files import pair_paths, read_pairs, targets_in, write_pairs

logger = logging.getLogger(__name__)

REPORT = DECONTAMINATION
REMOVED = "removed.csv"

Source = str | PathLike[str]
_Tell = Callable[[Pair, Found], object]


@dataclass(slots=True)
class Counts:
    """What was found of one source.

    :param pairs: Pairs that were read.
    :param removed: Pairs taken out, each under the first of `KINDS` that applied.
    :param by_task: The same for each task; a pair that occurs in two counts in both.
    :param negatives: Hard negatives taken out of pairs that stay.
    :param short: Pairs that stay though a short text of theirs occurs with another counterpart.
    """

    pairs: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    by_task: dict[str, Counter[str]] = field(default_factory=dict)
    negatives: int = 0
    short: int = 0

    def take(self, found: Found) -> None:
        """Count a pair that occurs."""
        if found.kind == SHORT:
            self.short += 1
            return
        self.removed[found.kind] += 1
        for task in found.tasks:
            self.by_task.setdefault(task, Counter())[found.kind] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values, kinds in their order."""
        removed = sum(self.removed.values())
        tasks = {task: _in_order(self.by_task[task]) for task in sorted(self.by_task)}
        return {
            "pairs": self.pairs,
            "kept": self.pairs - removed,
            "removed": removed,
            "kinds": _in_order(self.removed),
            "tasks": tasks,
            "negatives_removed": self.negatives,
            "short_kept": self.short,
        }


class Decontamination:
    """Takes out of training pairs what occurs in evaluation data. Of this hashes are held, of the pairs nothing.

    :param overlap: The evaluation data.
    :param against: Rows of each task that was added to it.
    """

    def __init__(self, overlap: Overlap, against: dict[str, int]) -> None:
        self.overlap = overlap
        self.against = against
        self.counts: dict[str, Counts] = {}

    @classmethod
    def against_tasks(
        cls, names: Sequence[str], *, data: Path | None = None, data_dir: Path | None = None, **options: Any
    ) -> Self:
        """Read evaluation data.

        :param names: Tasks and files, see `evaluated`, as are `data` and `data_dir`.
        :param options: Those of `Overlap`.
        :raises UnknownTaskError: If a name is neither a file nor a task.
        :raises ReadError: If a task's data or a file cannot be read.
        :raises TrainingDataError: If one holds no text.
        """
        overlap = Overlap(**options)
        against: dict[str, int] = {}
        for name, rows in evaluated(names, data=data, data_dir=data_dir):
            against[name] = 0
            for row in rows:
                overlap.add(name, row.texts, row.keys)
                against[name] += any(text.strip() for text in row.texts)
            if not against[name]:
                raise TrainingDataError(
                    f"{name} holds no text, so nothing can be kept free of it; is it the right one?"
                )
            logger.info("%s: %d rows of evaluation data", name, against[name])
        return cls(overlap, against)

    def learn(self, pairs: Iterable[Pair]) -> None:
        """Look through pairs for patients who occur in evaluation data; do it before :meth:`keep`.

        Evaluation data knows stays; that a stay is of a patient whose others are to go as well is told by pairs.
        """
        if self.overlap.of_patients:
            for pair in pairs:
                self.overlap.link(pair)

    def keep(self, pairs: Iterable[Pair], on_removed: _Tell | None = None) -> Iterator[Pair]:
        """Stream the pairs that do not occur in evaluation data, without hard negatives that do.

        :param on_removed: Is told of each pair that is taken out.
        """
        for pair in pairs:
            counts = self.counts.setdefault(pair.source, Counts())
            counts.pairs += 1
            found = self.overlap.find(pair)
            if found is not None:
                counts.take(found)
            if found is not None and found.kind != SHORT:
                if on_removed is not None:
                    on_removed(pair, found)
                continue
            negatives = tuple(text for text in pair.negatives if not self.overlap.holds(text))
            counts.negatives += len(pair.negatives) - len(negatives)
            yield pair if negatives == pair.negatives else replace(pair, negatives=negatives)

    def report(self) -> dict[str, Any]:
        """Return what was compared how, and what was found, JSON-able and in an order of its own."""
        overlap = self.overlap
        return {
            "settings": {
                "threshold": overlap.threshold,
                "exact_words": overlap.exact_words,
                "near_words": overlap.near_words,
                "beginning_words": BEGINNING,
            },
            "against": self.against,
            "sources": {source: self.counts[source].to_dict() for source in sorted(self.counts)},
        }

    def to_json(self) -> str:
        """Return the report as a file's text."""
        return json.dumps(self.report(), indent=2, ensure_ascii=False) + "\n"


def decontaminate(cleaned: Decontamination, sources: Iterable[Source], out: Path) -> list[Path]:
    """Write files of pairs anew without what occurs in evaluation data.

    :param cleaned: The evaluation data; counts what is taken out.
    :param sources: Files of pairs, as `read_pairs` takes them.
    :param out: Folder that gets a file for each, of its name, with `REMOVED` (source, id, kind and tasks of each pair
        that was taken out; no text) and `REPORT`.
    :returns: The files of pairs.
    :raises ReadError: If a source is missing or a row is no pair.
    :raises TrainingOutputError: If two files have one name, one would overwrite what is read, or cannot be written.
    """
    paths = pair_paths(sources)
    targets = targets_in(paths, out)
    cleaned.learn(read_pairs(paths))
    try:
        out.mkdir(parents=True, exist_ok=True)
        with _table(out / REMOVED, ("source", "id", "kind", "tasks")) as add:
            for path, target in targets.items():
                _clean(cleaned, path, target, lambda pair, found: add((pair.source, pair.id, found.kind, *found.tasks)))
        write_whole(out / REPORT, [cleaned.to_json()])
    except OSError as error:
        raise _unwritten(out, error) from error
    return list(targets.values())


def training_pairs(config: Config, folder: Path) -> Iterator[Pair]:
    """Stream the pairs of a run without what occurs in its evaluation data, unless it is told to keep that.

    Where it names none, this is what is built of the benchmark.

    :param folder: Of the run, which exists once pairs are asked for; gets `REPORT` when all have been read.
    :raises ReadError: If pairs, a task's data or a file cannot be read.
    :raises TrainingConfigError: If a name is neither a file nor a task.
    :raises TrainingOutputError: If the report cannot be written.
    """
    data, evaluation = config.data, config.evaluation
    names = list(dict.fromkeys((*evaluation.tasks, *data.decontaminate_against)))
    if data.decontaminate and not names and _is_built(evaluation.data_dir):
        names = [NAME]
    if not data.decontaminate or not names:
        why = "evaluation.tasks and data.decontaminate_against name none" if data.decontaminate else "as asked"
        logger.warning("pairs that occur in evaluation data are not left out: %s", why)
        (folder / REPORT).unlink(missing_ok=True)
        yield from read_pairs(data.pairs)
        return
    paths = {"data": evaluation.data, "data_dir": evaluation.data_dir}
    try:
        cleaned = Decontamination.against_tasks(
            names, **{name: None if path is None else Path(path) for name, path in paths.items()}
        )
    except UnknownTaskError as error:
        raise TrainingConfigError(f"data.decontaminate_against: {error}") from None
    cleaned.learn(read_pairs(data.pairs))
    yield from cleaned.keep(read_pairs(data.pairs))
    for source, counts in cleaned.counts.items():
        removed = counts.removed.total()
        logger.info("%s: %d of %d pairs occur in evaluation data and are left out", source, removed, counts.pairs)
    try:
        write_whole(folder / REPORT, [cleaned.to_json()])
    except OSError as error:
        raise _unwritten(folder, error) from error


def _is_built(data_dir: str | None) -> bool:
    """Tell whether any of the benchmark's tasks is built."""
    try:
        return bool(find_tasks([NAME], data_dir=None if data_dir is None else Path(data_dir)))
    except ReadError:
        return False


def _clean(cleaned: Decontamination, path: str, target: Path, on_removed: _Tell) -> None:
    kept = write_pairs(target, cleaned.keep(read_pairs([path]), on_removed), [path])
    if kept:
        logger.info("%s: %d pairs kept in %s", Path(path).name, kept, target)
    else:
        logger.warning("%s: no pair is left; %s is empty", Path(path).name, target)


@contextmanager
def _table(path: Path, header: Sequence[str]) -> Iterator[Callable[[Sequence[str]], object]]:
    """Write a table whose rows come one by one; it is there whole or not at all."""
    half = path.with_name(f".{path.name}.part")
    try:
        with half.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            yield writer.writerow
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def _unwritten(folder: Path, error: OSError) -> TrainingOutputError:
    return TrainingOutputError(f"{folder} cannot be written: {error.strerror or error}", path=str(folder))


def _in_order(counts: Counter[str]) -> dict[str, int]:
    return {kind: counts[kind] for kind in KINDS if counts[kind]}
