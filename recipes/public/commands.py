"""The product's own commands, as a user would type them."""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def call(tool: str, *words: str | Path, place: Path) -> str:
    """Run a command and return what it printed; its notes go to stderr.

    :param tool: ``medte-train`` or ``medte-eval``.
    :param place: Folder that it runs in, which the paths in configurations start from.
    :raises SystemExit: If it failed.
    """
    given: Sequence[str] = [*map(str, words)]
    print(f"$ {tool} {shlex.join(given)}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"{tool.replace('-', '_')}.cli", *given]
    done = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{tool} {given[0]} ended with status {done.returncode}")
    return done.stdout


def call_json(tool: str, *words: str | Path, place: Path) -> dict[str, Any]:
    """Run a command and return the JSON object that it printed."""
    found: dict[str, Any] = json.loads(call(tool, *words, "--json", place=place))
    return found
