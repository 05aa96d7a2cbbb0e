"""The parent's end of a worker process."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
ANSWER_LIMIT_S = 3600.0
"""A worker that says nothing for so long is ended."""

_REASON_CHARACTERS = 240
_SETTLED_S = 0.2


class WorkerError(Exception):
    """A worker could not load its way, or failed at what it was asked."""


class Worker:
    """Starts a worker and asks it.

    :param loader: ``module:class`` to load.
    :param options: What the class is made with.
    :param log: File for everything that it prints.
    :param python: The interpreter it runs in.
    :param limit_s: Longest wait for an answer.
    :raises WorkerError: If it cannot load; the message is its reason.
    """

    def __init__(
        self,
        loader: str,
        options: Mapping[str, Any],
        log: Path,
        *,
        python: str = sys.executable,
        limit_s: float = ANSWER_LIMIT_S,
    ) -> None:
        self._log = log
        self._limit_s = limit_s
        spec = json.dumps({"loader": loader, "options": dict(options)})
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [python, "-m", "bench.encode.worker", spec],
                cwd=ROOT,
                env=os.environ | {"HF_HUB_OFFLINE": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
            )
        try:
            self._read()
        except WorkerError:
            self.close()
            raise

    def ask(self, do: str, **arguments: Any) -> Any:
        """Have it do something and wait for the result.

        :raises WorkerError: If it fails, ends or takes too long.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise WorkerError(self._end()) from None
        return self._read()

    def idle_share(self, seconds: float = 0.5) -> float | None:
        """Return the share of one core that it takes while it should wait; None where that cannot be read.

        Threads may wait busily for some milliseconds after their work; what counts is what comes after.
        """
        time.sleep(_SETTLED_S)
        before = self._cpu_seconds()
        time.sleep(seconds)
        after = self._cpu_seconds()
        return None if before is None or after is None else (after - before) / seconds

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):  # it has gone already
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        late = threading.Timer(self._limit_s, self._process.kill)
        late.start()
        try:
            line = self._process.stdout.readline()
        finally:
            late.cancel()
        if not line:
            raise WorkerError(self._end())
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(_one_line(answer["error"]))
        return answer["result"]

    def _end(self) -> str:
        """Tell how it ended, with the last that it printed."""
        try:
            status: object = self._process.wait(10)
        except subprocess.TimeoutExpired:
            status = "unknown"
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return _one_line(f"the worker ended with status {status}; its last line: {lines[-1] if lines else 'none'}")

    def _cpu_seconds(self) -> float | None:
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _REASON_CHARACTERS else text[: _REASON_CHARACTERS - 1] + "…"
