"""What is known of each task before it is run: whether it is built, or can be, and how."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from es_ingest.records import ReadError
from medte_eval.tasks.benchmark import BENCHMARK
from medte_eval.tasks.benchmark.sources import SOURCES
from medte_eval.tasks.benchmark.task import BenchmarkTask
from medte_eval.tasks.building.folder import find_built
from medte_eval.tasks.building.manifest import Manifest, read_manifest


@dataclass(frozen=True, slots=True)
class Listed:
    """A task of the benchmark as it stands here.

    :param built: Manifests of what is built of it: with a language model's help, without it, or both.
    :param damaged: Whether something of it is there and cannot be read.
    :param buildable: Whether it can be built with what is given, as far as can be told without trying.
    :param needs: What building it takes.
    :param how: The command that builds it.
    """

    task: BenchmarkTask
    built: tuple[Manifest, ...]
    damaged: bool
    buildable: bool
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
                {"name": one.name, "rows": one.rows, "sha256": one.sha256, "built": one.built} for one in self.built
            ],
        }


def list_tasks(data_dir: Path, exports: Collection[str], *, offline: bool = False) -> list[Listed]:
    """List the benchmark's tasks.

    :param data_dir: Where built tasks are.
    :param exports: Sources of which a local export is given.
    :param offline: Whether the network is out of use.
    """
    return [_listed(task, data_dir, exports, offline=offline) for task in BENCHMARK.values()]


def _listed(task: BenchmarkTask, data_dir: Path, exports: Collection[str], *, offline: bool) -> Listed:
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
    given = task.source in exports or (source.fetched and not offline)
    return Listed(task, tuple(built), damaged, given, _needs(task), _how(task))


def _needs(task: BenchmarkTask) -> tuple[str, ...]:
    source = SOURCES[task.source]
    if not source.fetched:
        found = [f"--mimic FOLDER: {source.export}"]
    else:
        found = [f"the network, or --export {source.name}=PATH: {source.export}"]
    if task.uses_llm:
        found.append(f"--generator FILE.yaml: a language model; without it {task.llm_free_name} is built")
    return tuple(found)


def _how(task: BenchmarkTask) -> str:
    words = ["medte-eval build --tasks", task.name]
    if not SOURCES[task.source].fetched:
        words.append("--mimic FOLDER")
    if task.uses_llm:
        words.append("--generator FILE.yaml")
    return " ".join(words)
