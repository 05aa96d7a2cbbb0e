"""Builds a task from its source, and says in its manifest what it was made of."""

import datetime
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from es_ingest.records import ReadError
from medte_eval.tasks.benchmark.sources import SOURCES
from medte_eval.tasks.benchmark.task import BenchmarkTask
from medte_eval.tasks.building.folder import alone, find_built, write_built
from medte_eval.tasks.building.manifest import FORMAT, PRIVATE, Manifest
from medte_eval.tasks.building.negatives import MAX_TOKENS, MODEL, Embed, with_hard_negatives
from medte_eval.tasks.building.opening import Opener
from medte_eval.tasks.building.tables import licences_of, tables_of
from medte_eval.tasks.building.workbench import SEED, Workbench
from medte_eval.tasks.content import CONTENTS, read_content
from medte_eval.tasks.rows import Match, Row

if TYPE_CHECKING:
    from medte_eval.tasks.building.rephrase import Rephraser

logger = logging.getLogger(__name__)

_SEEDED = "samples are drawn from sorted ids with the seed {}, there without a seed"
_PACKAGES = ("medte", "mteb", "numpy", "scikit-learn")


@dataclass(frozen=True, slots=True)
class Options:
    """What decides the rows of a task beside its source.

    :param seed: Of all samples, splits and draws.
    :param max_rows: Keep no more rows, and ask the source for no more items; None for the benchmark's cap.
    :param faithful: Do as the benchmark does where we would do otherwise.
    """

    seed: int = SEED
    max_rows: int | None = None
    faithful: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """A task that is built.

    :param fresh: Whether it was built just now.
    """

    folder: Path
    manifest: Manifest
    fresh: bool


class Builder:
    """Builds tasks into a folder.

    :param data_dir: Where; each task gets a folder of its name.
    :param sources: What the sources are opened with.
    :param embed: Embeds texts for hard negatives.
    :param options: What decides the rows.
    :param rephraser: Asks a language model where the benchmark does; None builds the variant without one.
    """

    def __init__(
        self,
        data_dir: Path,
        sources: Opener,
        embed: Embed,
        *,
        options: Options | None = None,
        rephraser: "Rephraser | None" = None,
    ) -> None:
        self.data_dir = data_dir
        self.options = options or Options()
        self._sources = sources
        self._embed = embed
        self._rephraser = rephraser

    def build(self, task: BenchmarkTask, *, llm_free: bool = False, again: bool = False) -> Built:
        """Build a task unless it is built already of this export with these options; a stale one is told.

        :param llm_free: Build the variant without a language model even if there is one.
        :param again: Build it in any case.
        :raises ReadError: If its source cannot be read or gives too little; nothing is left of it.
        :raises MedTEError: If the model for hard negatives cannot be had.
        """
        wanted = task.uses_llm and not llm_free and SOURCES[task.source].public  # no note goes to a language model
        rephraser = self._rephraser if wanted else None
        name = task.name if rephraser is not None else task.llm_free_name
        with alone(self.data_dir, name):
            recipe = self._recipe(task, rephraser)
            earlier = None if again else self._earlier(name, recipe)
            if earlier is not None:
                return earlier
            logger.info("%s: made from %s", name, SOURCES[task.source].title)
            manifest = self._make(task, name, recipe, rephraser)
        logger.info("%s: built: %s", name, ", ".join(f"{key} {value:,}" for key, value in manifest.rows.items()))
        return Built(self.data_dir / name, manifest, fresh=True)

    def _make(self, task: BenchmarkTask, name: str, recipe: dict[str, Any], rephraser: "Rephraser | None") -> Manifest:
        options = self.options
        bench = Workbench(
            self._sources.open,
            seed=options.seed,
            max_rows=options.max_rows,
            faithful=options.faithful,
            rephraser=rephraser,
        )
        rows = self._rows(task, bench)
        tables, labels = tables_of(task, rows, seed=options.seed)
        source = SOURCES[task.source]
        differences = self._differences(task, bench)
        manifest = Manifest(
            format=FORMAT,
            name=name,
            task=task.name,
            number=task.number,
            type=task.kind,
            main_score=task.main_score,
            description=" ".join([task.description, *(f"Unlike the benchmark: {one}." for one in differences)]),
            original=task.original,
            source=source.title,
            reference=source.reference,
            licence=source.licence,
            notice="" if source.public else PRIVATE,
            snapshot=self._sources.snapshot(task.source),
            rows={table: len(next(iter(columns.values()))) for table, columns in tables.items()},
            sha256=CONTENTS[task.kind].of(tables).sha256(),
            labels=labels,
            recipe=recipe,
            cap=task.cap,
            differences=[*differences, _SEEDED.format(options.seed)],
            dropped={reason: number for reason, number in bench.dropped.items() if number},
            licences=licences_of(rows),
            versions={package: version(package) for package in _PACKAGES},
            built=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        write_built(self.data_dir, tables, manifest)
        return manifest

    def _rows(self, task: BenchmarkTask, bench: Workbench) -> list[Row]:
        made: list[Any] = sorted(cast(Iterable[Any], task.recipe.rows(bench)))  # all of one kind
        missing = [label for label in task.labels if label not in {getattr(row, "label", None) for row in made}]
        if missing:
            raise ReadError(task.name, f"its source gives no row of the class {missing[0]!r}")
        if task.negatives is None:
            return bench.draw(made, task.cap)
        if len(made) < 2:
            raise ReadError(task.name, f"its source gives {len(made)} pairs; hard negatives take two at least")
        matches = cast(list[Match], made)
        pairs = with_hard_negatives(matches, task.negatives, seed=bench.seed, embed=self._embed)
        return [*bench.draw(pairs, task.cap)]

    def _differences(self, task: BenchmarkTask, bench: Workbench) -> list[str]:
        found = [*task.differences, *bench.differences]
        if task.uses_llm and bench.rephraser is None:
            found.insert(0, task.recipe.llm_free)
        elif bench.rephraser is not None:
            found.append("another language model or prompt than GPT-4o with the authors' own")
        if self.options.max_rows is not None and self.options.max_rows < task.cap:
            found.append(
                f"at most {self.options.max_rows:,} rows are kept, and items asked for, instead of {task.cap:,}"
            )
        return found

    def _recipe(self, task: BenchmarkTask, rephraser: "Rephraser | None") -> dict[str, Any]:
        options = self.options
        return {
            "seed": options.seed,
            "max_rows": options.max_rows,
            "faithful": options.faithful,
            "export": self._sources.export(task.source),
            "generator": rephraser.describe() if rephraser is not None else None,
            "negatives": f"{MODEL}, {MAX_TOKENS} tokens, k = {task.negatives.k}" if task.negatives else None,
        }

    def _earlier(self, name: str, recipe: dict[str, Any]) -> Built | None:
        folder = find_built(self.data_dir, name)
        if folder is None:
            return None
        try:
            _, manifest = read_content(folder)
        except ReadError as error:
            logger.warning("%s; it is built anew", error)
            return None
        changed = [name for name, value in recipe.items() if manifest.recipe.get(name) != value]
        if changed:
            logger.warning("%s is stale, its %s changed; it is built anew", name, " and ".join(changed))
            return None
        return Built(folder, manifest, fresh=False)
