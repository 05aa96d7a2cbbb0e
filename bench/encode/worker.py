"""The process behind one way: loads it, then answers one line of JSON for each it gets.

It runs in the peers' environment too and imports nothing of medte. What libraries print goes to the error output, which
the parent keeps in a file; only answers go to the parent.

    -> {"do": "encode", "arguments": {"texts": "a.json", "out": "a.npy", "options": {"batch_size": 32}}}
    <- {"result": {"seconds": 1.5, "peak_mb": 900.0}}
    <- {"error": "ValueError: ..."}
"""

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np


class Server:
    """Answers requests with the methods of what was loaded."""

    def __init__(self, way: Any) -> None:
        self._way = way
        self._texts: tuple[str, list[str]] = ("", [])

    def answer(self, do: str, arguments: dict[str, Any]) -> Any:
        """Do what is asked: `encode` here, anything else by the way's own method."""
        if do == "encode":
            return self._encode(**arguments)
        if do.startswith("_"):
            raise ValueError(f"{do} cannot be asked for")
        return getattr(self._way, do)(**arguments)

    def _encode(self, texts: str, out: str | None, options: dict[str, Any]) -> dict[str, Any]:
        if self._texts[0] != texts:
            self._texts = texts, json.loads(Path(texts).read_text("utf-8"))
            reset_peak()
        seconds, vectors = self._way.encode(self._texts[1], **options)
        if out is not None:
            np.save(out, np.asarray(vectors, dtype=np.float32))
        return {"seconds": seconds, **peaks()}


def reset_peak() -> None:
    """Let the peak start anew, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peaks() -> dict[str, float]:
    """Return the largest resident size of this process in MB, and of its tensors on a GPU."""
    found = {"peak_mb": status_mb("VmHWM")}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        found["gpu_peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return found


def status_mb(field: str) -> float:
    """Return ``VmHWM`` (peak) or ``VmRSS`` of this process in MB, from Linux; elsewhere the peak since the start.

    On Linux getrusage is no help: a child begins with its parent's peak.
    """
    path = Path("/proc/self/status")
    if not path.is_file():
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found = next(line for line in path.read_text().splitlines() if line.startswith(field + ":"))
    return int(found.split()[1]) / 1024


def load(spec: dict[str, Any]) -> Any:
    """Make what ``{"loader": "module:class", "options": {...}}`` names."""
    module, _, name = spec["loader"].partition(":")
    return getattr(importlib.import_module(module), name)(**spec["options"])


def serve(spec: dict[str, Any], requests: Iterable[str], answers: TextIO) -> None:
    """Load, tell what it is, and answer until the requests end."""

    def tell(work: Callable[[], Any]) -> Any:
        result = None
        try:
            result = work()
            answer = {"result": None if isinstance(result, Server) else result}
        except Exception as error:  # noqa: BLE001  whatever a peer raises is told, and the others go on
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
        return result

    server = tell(lambda: Server(load(spec)))
    for line in requests if server is not None else ():
        request = json.loads(line)
        tell(partial(server.answer, request["do"], request["arguments"]))


def main() -> None:
    """Serve on standard input and output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not get among the answers
    serve(json.loads(sys.argv[1]), sys.stdin, answers)


if __name__ == "__main__":
    main()
