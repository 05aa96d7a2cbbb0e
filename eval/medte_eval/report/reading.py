"""Reads the results in folders: those that can stand beside each other, and why others are left out."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from medte_eval.failures import FAILED_SUFFIX
from medte_eval.report.model import Failed, LeftOut
from medte_eval.results import RUN_SUFFIX, STATE, ResultError, read_result


def _number(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _named(system: dict[str, Any]) -> dict[str, Any]:
    options = system.get("index_options")
    if not isinstance(system.get("name"), str) or not isinstance(options, dict | None):
        raise ValueError("a system has a name, and index options or none")
    if not isinstance((options or {}).get("m"), int | None):
        raise ValueError("m of index options is a number")
    return system


Number = Annotated[float | None, BeforeValidator(_number)]
"""A number, or None for what is none, such as NaN."""

_FAILED = TypeAdapter(Failed)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Latency(_Part):
    """What `measure_latency` gives."""

    timed: str
    queries: int
    top_k: int | None = None
    p50_ms: Number
    p99_ms: Number
    queries_per_second: Number


class Task(_Part):
    """What `describe_task` gives."""

    name: str
    description: str = ""
    type: str
    main_score: str
    data_sha256: str | None = None
    sampled_queries: int | None = None
    reduced: bool = False
    subsets: tuple[str, ...] | None = None
    splits: tuple[str, ...] | None = None
    seed: int | None = None
    top_k: int | None = None
    ignore_identical_ids: bool | None = None

    @property
    def state(self) -> tuple[object, ...]:
        """What two results must share to be comparable."""
        return tuple(getattr(self, name) for name in STATE)


class Run(_Part):
    """What `Outcome.to_dict` gives, as far as a report needs it."""

    task: Task
    system: Annotated[dict[str, Any], AfterValidator(_named)]
    model: dict[str, Any]
    scores: dict[str, Number]
    counts: dict[str, int]
    seconds: dict[str, Number]
    latency: Latency | None = None
    notes: list[str] = []
    versions: dict[str, str] = {}
    index_bytes: int | None = None
    top_k: int | None = None
    weights_learned_here: int | None = None
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Result:
    """A result and where it is.

    :param path: Its ``*.run.json``.
    :param written: When that was written, in seconds since the epoch.
    """

    path: Path
    written: float
    run: Run

    @property
    def task(self) -> Task:
        """What was run."""
        return self.run.task

    @property
    def score(self) -> float | None:
        """The task's main score; None if it could not be computed."""
        return self.run.scores.get(self.task.main_score)

    @property
    def setup(self) -> str:
        """What all results of one system with one model have in common."""
        return json.dumps([self.run.system, self.run.model], sort_keys=True)

    def items(self) -> Iterator[dict[str, Any]]:
        """Give what was measured of each query, pair or text; nothing of a task without items."""
        if (name := self.run.files.get("items")) is not None:
            with (self.path.parent / name).open(encoding="utf-8") as lines:
                yield from map(json.loads, lines)


@dataclass(frozen=True, slots=True)
class Found:
    """What folders hold.

    :param results: Of each task in one state of its data, and of each system once.
    :param failures: Tasks that `medte-eval run` could not run.
    :param left_out: Files that are not in `results`, and why.
    """

    results: Sequence[Result]
    failures: Sequence[Failed]
    left_out: Sequence[LeftOut]


def read_folders(folders: Sequence[Path]) -> Found:
    """Read what `medte-eval run --out` has written.

    :param folders: Each is read without the folders in it.
    :raises ResultError: If there is neither a result nor a failure in all of them.
    """
    read: list[Result] = []
    failures: list[Failed] = []
    left_out: list[LeftOut] = []
    for folder in dict.fromkeys(one.resolve() for one in folders):
        for path in sorted(folder.glob(f"*{RUN_SUFFIX}")):
            try:
                read.append(_read(path))
            except ResultError as error:
                left_out.append(LeftOut(path.name, str(error).removeprefix(f"{path} "), damaged=True))
        for path in sorted(folder.glob(f"*{FAILED_SUFFIX}")):
            try:
                failures.append(_FAILED.validate_json(path.read_bytes()))
            except (OSError, ValueError):
                left_out.append(LeftOut(path.name, "cannot be read; run the task again", damaged=True))
    if not read and not failures:
        raise ResultError(_nothing(folders, left_out))
    results, doubled = _one_of_each(read)
    return Found(results, failures, (*left_out, *doubled))


def _read(path: Path) -> Result:
    found = read_result(path)
    try:
        return Result(path, path.stat().st_mtime, Run.model_validate(found))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        by = found.get("versions", {}).get("medte") if isinstance(found.get("versions"), Mapping) else None
        made = f"made by medte {by}" if by else "of an unknown version"
        raise ResultError(f"is no result as this version writes them ({place}: {first['msg']}; {made})") from None


def _nothing(folders: Sequence[Path], left_out: Sequence[LeftOut]) -> str:
    named = ", ".join(map(str, folders))
    if left_out:
        return f"{named}: no result can be read; {left_out[0].file}: {left_out[0].reason}"
    deeper = next((path.parent for one in folders for path in sorted(one.glob(f"*/*{RUN_SUFFIX}"))), None)
    hint = f"; name the folder with results itself, such as {deeper}" if deeper else ""
    return f"{named} has no result; `medte-eval run --out {folders[0]}` writes them{hint}"


def _one_of_each(read: Iterable[Result]) -> tuple[list[Result], list[LeftOut]]:
    """Keep one state of each task's data, the one most results are of, and the newest result of a system on it."""
    results = sorted(read, key=lambda one: (one.written, one.path.name), reverse=True)
    states = Counter((one.task.name, one.task.state) for one in results)  # of equally many the newest, which came first
    common: dict[str, tuple[object, ...]] = {}
    for (name, state), _ in states.most_common():
        common.setdefault(name, state)
    kept: dict[tuple[str, str], Result] = {}
    left_out = []
    for one in results:
        if one.task.state != common[one.task.name]:
            left_out.append(LeftOut(one.path.name, _of_other_data(one.task, common[one.task.name])))
            continue
        newer = kept.setdefault((one.task.name, one.setup), one)
        if newer is not one:
            left_out.append(LeftOut(one.path.name, f"the same task on the same system is in {newer.path.name}, newer"))
    return list(kept.values()), left_out


def _of_other_data(task: Task, state: tuple[object, ...]) -> str:
    told = ", ".join(
        f"{name} {_short(own)}, not {_short(other)}"
        for name, own, other in zip(STATE.values(), task.state, state, strict=True)
        if own != other
    )
    return f"of other data or searches than most results of {task.name} ({told}), so not to be compared with them"


def _short(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)[:12]
