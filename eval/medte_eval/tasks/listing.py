"""What is known of each task before it is run: whether it is built, or can be, and how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from es_ingest.records import ReadError
from medte_eval.tasks.benchmark import BENCHMARK
from medte_eval.tasks.benchmark.sources import SOURCES, Source
from medte_eval.tasks.benchmark.task import BenchmarkTask
from medte_eval.tasks.building.folder import find_built
from medte_eval.tasks.building.manifest import Manifest, read_manifest
from medte_eval.tasks.building.opening import Sources


@dataclass(frozen=True, slots=True)
class Listed:
    """A task of the benchmark as it stands here.

    :param built: Manifests of what is built of it: with a language model's help, without it, or both.
    :param stale: Names of what is built of an export that holds something else by now.
    :param damaged: Whether something of it is there and cannot be read.
    :param wrong: What is wrong with the export that is given for it; "" if nothing is, or none is given.
    :param buildable: Whether it can be built with what is given, as far as can be told without trying; None offline,
        where that depends on what was fetched before.
    :param needs: What building it takes.
    :param how: The command that builds it.
    """

    task: BenchmarkTask
    built: tuple[Manifest, ...]
    stale: tuple[str, ...]
    damaged: bool
    wrong: str
    buildable: bool | None
    needs: tuple[str, ...]
    how: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        task = self.task
        return {
            "name": task.name,
            "number": task.number or None,
            "type": task.kind,
            "source": SOURCES[task.source].title,
            "description": task.description,
            "main_score": task.main_score,
            "labels": list(task.labels),
            "cap": task.cap,
            "reserve": task.reserve,
            "language_model": task.uses_llm,
            "differences": list(task.differences),
            "licence": SOURCES[task.source].licence,
            "public": SOURCES[task.source].public,
            "original": task.original,
            "needs": list(self.needs),
            "buildable": self.buildable,
            "how": self.how,
            "built": [
                {
                    "name": one.name,
                    "rows": one.rows,
                    "sha256": one.sha256,
                    "built": one.built,
                    "stale": one.name in self.stale,
                }
                for one in self.built
            ],
        }


def list_tasks(data_dir: Path, exports: Mapping[str, Path], *, offline: bool = False) -> list[Listed]:
    """List the benchmark's tasks.

    :param data_dir: Where built tasks are.
    :param exports: Local exports by source; one of which something is built is read.
    :param offline: Whether the network is out of use.
    """
    sources = Sources(data_dir, exports=exports)  # of which nothing is opened
    return [_listed(task, data_dir, exports, sources.export, offline=offline) for task in BENCHMARK.values()]


def _listed(
    task: BenchmarkTask,
    data_dir: Path,
    exports: Mapping[str, Path],
    content: Callable[[str], str | None],
    *,
    offline: bool,
) -> Listed:
    source = SOURCES[task.source]
    built, damaged = [], False
    for name in dict.fromkeys((task.name, task.llm_free_name)):
        folder = find_built(data_dir, name)
        if folder is None:
            continue
        try:
            built.append(read_manifest(folder))
        except ReadError:
            damaged = True
    exported = [one for one in built if one.recipe.get("export") and task.source in exports]
    stale: tuple[str, ...] = ()
    wrong = _wrong(exports.get(task.source))
    if exported and not wrong:
        try:
            holds = content(task.source)
            stale = tuple(one.name for one in exported if one.recipe.get("export") != holds)
        except ReadError as error:
            wrong = str(error)
    buildable = None if offline and source.fetched else source.fetched
    if task.source in exports:
        buildable = not wrong
    needs = _needs(task, wrong, offline=offline)
    return Listed(task, tuple(built), stale, damaged, wrong, buildable, needs, _how(task))


def _wrong(export: Path | None) -> str:
    return "" if export is None or export.exists() else f"{export} does not exist"


def _needs(task: BenchmarkTask, wrong: str, *, offline: bool) -> tuple[str, ...]:
    source = SOURCES[task.source]
    instead = f"{'what was fetched before' if offline else 'the network'}, or " * source.fetched
    found = [f"{instead}{_flag(source)}: {source.export}{f'; {wrong}' if wrong else ''}"]
    if task.uses_llm:
        found.append(f"--generator FILE.yaml: a language model; without it {task.llm_free_name} is built")
    return tuple(found)


def _flag(source: Source) -> str:
    return "--mimic FOLDER" if source.name == "mimic" else f"--export {source.name}=PATH"


def _how(task: BenchmarkTask) -> str:
    words = ["medte-eval build --tasks", task.name]
    if not SOURCES[task.source].fetched:
        words.append(_flag(SOURCES[task.source]))
    if task.uses_llm:
        words.append("--generator FILE.yaml")
    return " ".join(words)
