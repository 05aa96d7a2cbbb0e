"""Peak memory of `es-ingest run` by how many short records come from standard input; it should not depend on it.

The records bring vectors of few dimensions, so that a million takes a minute and the stream is what is measured; with
``--model`` they are encoded.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.alternating import parser
from es_ingest.cluster import open_cluster

_COMMAND = Path(sys.executable).with_name("es-ingest")
_DIM = 8
_WORDS = ("kidney", "stone", "gout", "lupus", "sepsis", "asthma", "insulin", "renal", "cardiac", "biopsy", "fever")
_MB = 1024 * (1 if sys.platform != "darwin" else 1024)  # of ru_maxrss


def lines(number: int, *, vectors: bool) -> Iterator[bytes]:
    """Yield records as JSONL."""
    words = random.Random(0)
    for n in range(number):
        record: dict[str, object] = {"id": f"r{n}", "text": f"{' '.join(words.choices(_WORDS, k=3))} {n}"}
        if vectors:
            record["vector"] = [float(place == n % _DIM) for place in range(_DIM)]
        yield json.dumps(record).encode() + b"\n"


def measure(number: int, url: str, state: Path, model: str | None) -> dict[str, float]:
    """Return records, peak MB and seconds of a run."""
    made_by = ["--model", model] if model else ["--model", "made-up", "--vector-field", "vector"]
    index = [f"--index=memory-{number}", "--quantisation=flat", "--es", url, "--ledger", str(state / str(number))]
    command = [_COMMAND, "run", "-", "--format=jsonl", "--json", "--quiet", *index, *made_by]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.writelines(lines(number, vectors=model is None))
        process.stdin.close()
        told = json.loads(process.stdout.read())
        _, process.returncode, usage = os.wait4(process.pid, 0)
    if told["records"] != number:
        raise AssertionError(told)
    return {"records": number, "peak_mb": usage.ru_maxrss / _MB, "seconds": told["seconds"]}


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    options = parser(__doc__, rounds=False)
    options.add_argument("--records", type=int, nargs="+", default=[100_000, 1_000_000], help="in ascending order")
    options.add_argument("--model", help="encode by this model")
    chosen = options.parse_args(arguments)
    print(f"{'records':>12}{'peak MB':>10}{'seconds':>10}")
    rows = []
    with open_cluster(ephemeral=True) as connection, TemporaryDirectory() as folder:
        for number in sorted(chosen.records):
            row = measure(number, connection.url, Path(folder), chosen.model)
            print(f"{row['records']:12,}{row['peak_mb']:10,.0f}{row['seconds']:10,.0f}", flush=True)
            rows.append(row)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps({"model": chosen.model, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
