"""The workers of a run: started once, asked in turns, and remembered when they fail."""

import itertools
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bench.alternating import in_turn
from bench.encode.peers import PeersError, peers_python
from bench.encode.process import Worker, WorkerError
from bench.encode.texts import TextSet
from bench.encode.ways import DEFAULT_BATCH, Way

_SWEPT = {"cpu": (1, 2, 4, 8, 16, 32, 64, 128), "cuda": (32, 64, 128, 256, 512, 1024, 2048)}
_SWEEP_TOKENS = {"cpu": 8192, "cuda": 1 << 20}
_SWEEP_TEXTS = {"cpu": 32, "cuda": 2048}  # at least, so that the default batch size is tried in full
_SLOWER_IN_A_ROW = 3  # then the sweep ends: larger batches only pad more
_WARM_UP = 10  # one text of so many is encoded first, at least _WARM_UP_TEXTS; on a GPU all are
_WARM_UP_TEXTS = 8
_IDLE_SHARE = 0.05


@dataclass
class Turns:
    """What one way did with one set of texts.

    :param seconds: Of each round.
    :param batch: Texts of a batch; None where the way decides.
    :param peaks: ``peak_mb`` of its process while it encoded, and ``gpu_peak_mb``.
    :param vectors: Of the first round.
    """

    seconds: list[float] = field(default_factory=list)
    batch: int | None = None
    peaks: dict[str, float] = field(default_factory=dict)
    vectors: NDArray[np.float32] | None = None


class Session:
    """Holds a worker for each way, one model and one device; use it in a `with`.

    :param ways: The ways.
    :param folder: The model's folder.
    :param device: ``cpu`` or ``cuda``.
    :param quiet: Say nothing on the error output.
    """

    def __init__(self, ways: Sequence[Way], folder: Path, device: str, *, quiet: bool = False) -> None:
        self.ways = {way.name: way for way in ways}
        self.failed: dict[str, str] = {}
        """Reasons of the ways that do not run, or no longer."""
        self.about: dict[str, dict[str, Any]] = {}
        """What the workers told of themselves, and ``idle_share``, their use of a core while they wait."""
        self._folder = folder
        self._device = device
        self._quiet = quiet
        self._workers: dict[str, Worker] = {}
        self._best: dict[tuple[str, str], int] = {}
        self._number = itertools.count()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._scratch = Path(self._open.enter_context(TemporaryDirectory(prefix="medte-bench-")))
        try:
            for way in self.ways.values():
                self._start(way)
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def ask(self, name: str, do: str, **arguments: Any) -> Any:
        """Ask one worker; if it fails it is out, and None comes back."""
        worker = self._workers.get(name)
        if worker is None:
            return None
        try:
            return worker.ask(do, **arguments)
        except WorkerError as error:
            self._fail(name, str(error))
            return None

    def rounds(self, texts: TextSet, rounds: int, also: Callable[[], None] = lambda: None) -> dict[str, Turns]:
        """Have all ways encode the texts in turns, the order turned round every second time.

        :param also: What else takes its turn once a round.
        :returns: What each way did that did not fail.
        """
        path = self._write(texts.name, texts.texts)
        warm = texts.texts if self._device == "cuda" else _spread(texts.texts, len(texts.texts) // _WARM_UP)
        warm_path = self._write(f"{texts.name}-warm-up", warm)
        done = {name: Turns() for name in self._workers}
        for name in list(done):
            self._encode(name, warm_path, self.ways[name].batch)
            done[name].batch = self._batch(name, texts)
            self._check_idle(name)
        for number in range(rounds):
            for name in in_turn(done, number):
                self._turn(name, done[name], path, keep=number == 0)
            also()
            self._say(f"{texts.name}: round {number + 1} of {rounds} done")
        return {name: turns for name, turns in done.items() if name not in self.failed}

    def _turn(self, name: str, turns: Turns, path: Path, *, keep: bool) -> None:
        out = self._scratch / f"{name}.npy" if keep else None
        result = self._encode(name, path, turns.batch, out)
        if result is None:
            return
        turns.seconds.append(result.pop("seconds"))
        turns.peaks = {kind: max(size, turns.peaks.get(kind, 0.0)) for kind, size in result.items()}
        if out is not None:
            turns.vectors = np.load(out)
            out.unlink()

    def _encode(self, name: str, path: Path, batch: int | None, out: Path | None = None) -> Any:
        options = {} if batch is None else {"batch_size": batch}
        return self.ask(name, "encode", texts=str(path), out=None if out is None else str(out), options=options)

    def _batch(self, name: str, texts: TextSet) -> int | None:
        """Return the way's batch size for these texts; looked for once where it shall be the best."""
        way = self.ways[name]
        if not way.sweep:
            return way.batch
        if (name, texts.name) not in self._best:
            self._best[name, texts.name] = self._sweep(name, texts)
        return self._best[name, texts.name]

    def _sweep(self, name: str, texts: TextSet) -> int:
        number = max(_SWEEP_TEXTS[self._device], len(texts.texts) * _SWEEP_TOKENS[self._device] // texts.tokens)
        tried = _spread(texts.texts, number)
        path = self._write(f"{texts.name}-sweep", tried)
        seconds: dict[int, float] = {}
        best, slower = DEFAULT_BATCH, 0
        for size in _SWEPT[self._device]:
            if slower == _SLOWER_IN_A_ROW or size >= 2 * len(tried):
                break
            result = self._encode(name, path, size)
            if result is None:
                break
            seconds[size] = result["seconds"]
            if seconds[size] <= seconds.get(best, seconds[size]):
                best, slower = size, 0
            else:
                slower += 1
        self._say(f"{name}, {texts.name}: best batch size {best}")
        return best

    def _start(self, way: Way) -> None:
        if self._device not in way.devices:
            self._fail(way.name, f"it does not run on {self._device}")
            return
        self._say(f"loading {way.label}")
        options = {**way.options, "folder": str(self._folder), "device": self._device}
        try:
            python = peers_python() if way.python == "peers" else sys.executable
            worker = Worker(way.loader, options, self._scratch / f"{way.name}.log", python=python)
        except (WorkerError, PeersError) as error:
            self._fail(way.name, str(error))
            return
        self._workers[way.name] = self._open.enter_context(worker)
        self.about[way.name] = self.ask(way.name, "about") or {}

    def _check_idle(self, name: str) -> None:
        """See once that a worker takes no processor time while it waits: the others' figures would suffer."""
        if name not in self._workers or "idle_share" in self.about[name]:
            return
        share = self.about[name]["idle_share"] = self._workers[name].idle_share()
        if share is not None and share > _IDLE_SHARE:
            print(f"warning: {name} takes {share:.0%} of a core while it waits", file=sys.stderr)

    def _fail(self, name: str, reason: str) -> None:
        self.failed[name] = reason
        self._say(f"{name} does not run: {reason}")
        worker = self._workers.pop(name, None)
        if worker is not None:
            worker.close()

    def _write(self, name: str, texts: Sequence[str]) -> Path:
        path = self._scratch / f"{next(self._number)}-{name}.json"  # workers keep texts by path
        path.write_text(json.dumps(list(texts)), "utf-8")
        return path

    def _say(self, text: str) -> None:
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)


def _spread(texts: Sequence[str], number: int) -> Sequence[str]:
    """Return so many texts from all over, at least a few."""
    number = max(number, _WARM_UP_TEXTS)
    return texts[:: max(1, len(texts) // number)][:number]
