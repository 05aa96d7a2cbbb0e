"""The environment of the peers that do not fit into the project's own: optimum wants an older transformers."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.encode.process import ROOT

REQUIREMENTS = Path(__file__).with_name("peers-requirements.txt")
_STAMP = "medte-bench-requirements"


class PeersError(Exception):
    """The environment cannot be made."""


def peers_python(folder: Path = ROOT / ".venv-peers", requirements: Path = REQUIREMENTS) -> str:
    """Return the peers' interpreter; makes its environment, or brings it up to date, where need be.

    :raises PeersError: If uv is missing or fails.
    """
    python = folder / "bin" / "python"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    stamp = folder / _STAMP
    if python.exists() and stamp.is_file() and stamp.read_text() == wanted:
        return str(python)
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise PeersError("its environment cannot be made: there is no uv, neither in .venv nor on the PATH")
    print(f"setting up {folder.name} for sentence-transformers with ONNX and OpenVINO", file=sys.stderr)
    _run(uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder))
    _run(uv, "pip", "sync", "--quiet", "--python", str(python), str(requirements))
    stamp.write_text(wanted)
    return str(python)


def _run(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise PeersError(f"its environment cannot be made: {last}")
