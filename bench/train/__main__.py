"""Throughput and memory of training, ours beside sentence-transformers' trainer, at the same settings on the same rows.

Each way runs in a process of its own, in turns. The first steps, in which kernels are made, are not counted. On a CPU
memory is the process's peak, on a GPU what PyTorch had allocated at most.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bench.alternating import in_turn, parser, positive
from bench.train.worker import OURS, THEIRS, Settings

_ROOT = Path(__file__).resolve().parents[2]
_MB = 1024 * (1 if sys.platform != "darwin" else 1024)  # of ru_maxrss
_WARMING = 2


def measure(way: str, settings: Settings) -> dict[str, Any]:
    """Return the seconds of each counted step, and the peak of memory in MB."""
    command = [sys.executable, "-m", "bench.train.worker", way, json.dumps(asdict(settings))]
    with tempfile.TemporaryFile("w+") as log:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=_ROOT) as process:
            assert process.stdout is not None
            out = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{way} ended with status {process.returncode}:\n{log.read()[-2000:]}")
    found = json.loads(out.splitlines()[-1])
    peak = usage.ru_maxrss / _MB if found["gpu_bytes"] is None else found["gpu_bytes"] / 2**20
    return {"way": way, "seconds": found["seconds"][_WARMING:], "peak_mb": peak}


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--pairs", nargs="*", default=(), help="files of pairs (default: the MedQuAD sample)")
    options.add_argument("--model", default="minilm")
    options.add_argument("--batch", type=positive, default=192)
    options.add_argument("--mini-batch", type=positive, default=32)
    options.add_argument("--mini-batch-tokens", type=positive, help="of ours, instead of --mini-batch")
    options.add_argument("--max-tokens", type=positive, default=256)
    options.add_argument("--steps", type=positive, default=8, help="of each way in each round, beside the first 3")
    options.add_argument("--precision", default="bf16", choices=("bf16", "fp32"))
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--symmetric", action="store_true")
    options.add_argument("--gradient-checkpointing", action="store_true")
    chosen = options.parse_args(arguments)
    names = Settings.__dataclass_fields__
    given = {name: value for name, value in vars(chosen).items() if name in names}
    settings = Settings(**{**given, "steps": chosen.steps + _WARMING + 1, "pairs": tuple(chosen.pairs)})
    runs = [measure(way, settings) for number in range(chosen.rounds) for way in in_turn((OURS, THEIRS), number)]
    rows = []
    print(f"{'':24}{'pairs/s':>10}{'s a step':>10}{'peak MB':>10}")
    for way in (OURS, THEIRS):
        its = [run for run in runs if run["way"] == way]
        step = statistics.mean(second for run in its for second in run["seconds"])
        peak = statistics.median(run["peak_mb"] for run in its)
        rows.append({"way": way, "pairs_per_second": settings.batch / step, "step_seconds": step, "peak_mb": peak})
        print(f"{way:24}{settings.batch / step:10.1f}{step:10.2f}{peak:10,.0f}")
    ours, theirs = rows
    print(
        f"{'ours / theirs':24}{ours['pairs_per_second'] / theirs['pairs_per_second']:10.2f}"
        f"{ours['step_seconds'] / theirs['step_seconds']:10.2f}{ours['peak_mb'] / theirs['peak_mb']:10.2f}"
    )
    if chosen.json is not None:
        found = {"settings": asdict(settings), "torch": torch.__version__, "rows": rows, "runs": runs}
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
