"""Find a JDK that can run Elasticsearch, or fetch one.

A JDK is judged by its `release` file, without starting it. It must be a whole JDK: the server needs the modules
``jdk.jlink`` and ``jdk.incubator.vector``, which a JRE and jlinked runtimes leave out.
"""

import logging
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from es_ingest.cluster.errors import JdkNotFoundError
from es_ingest.cluster.folders import ServerUser, closed_to

logger = logging.getLogger("es_ingest.cluster")

MODULES = frozenset({"jdk.jlink", "jdk.incubator.vector"})
SYSTEM_ROOTS = (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"))
FETCHED = "temurin:21"
INDEX_SECONDS = 20  # to reach the list of JDKs at all
FETCH_SECONDS = 600  # to bring the 200 MB once the list was reached


@dataclass(frozen=True)
class Jdk:
    """One Java installation.

    :param home: its folder.
    :param version: as written in its release file, such as ``21.0.4``.
    :param major: such as 21.
    :param modules: the modules it carries.
    :param source: where it was found: ``ES_JAVA_HOME``, ``JAVA_HOME``, ``PATH``, ``cjdk`` or a folder.
    """

    home: Path
    version: str
    major: int
    modules: frozenset[str]
    source: str

    def lack(self, minimum: int) -> str:
        """Say why it cannot run a server that needs Java `minimum`; empty when it can."""
        if self.major < minimum:
            return f"Java {self.version} is older than {minimum}"
        if missing := sorted(MODULES - self.modules):
            return f"Java {self.version} lacks {', '.join(missing)}: it is not a whole JDK"
        return ""


def read_release(home: Path, source: str) -> Jdk | None:
    """Read what a Java installation says of itself.

    :param home: its folder.
    :param source: where the folder's name came from.
    :returns: None if there is no runnable java or no readable release file.
    """
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    if not os.access(home / "bin" / "java", os.X_OK):
        return None
    values = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, flags=re.MULTILINE))
    version = values.get("JAVA_VERSION", "")
    numbers = re.match(r"(?:1\.)?(\d+)", version)
    if numbers is None:
        return None
    return Jdk(home, version, int(numbers[1]), frozenset(values.get("MODULES", "").split()), source)


def find_jdks(user: ServerUser | None = None, roots: Iterable[Path] = SYSTEM_ROOTS) -> list[Jdk]:
    """List the Java installations of this machine: those named by the environment first, then the newest first.

    :param user: who must be able to reach them.
    :param roots: folders that hold installations.
    """
    found: dict[Path, Jdk] = {}
    for home, source in _candidates(roots):
        jdk = read_release(home, source)
        if jdk is None:
            if source.endswith("JAVA_HOME"):
                logger.warning("%s=%s is not a Java installation; looking elsewhere", source, home)
        elif closed := closed_to(user, home):
            logger.info("the Java in %s is passed over: the server's user may not enter %s", home, closed)
        else:
            found.setdefault(home.resolve(), jdk)
    named = [jdk for jdk in found.values() if jdk.source in ("ES_JAVA_HOME", "JAVA_HOME", "PATH")]
    others = [jdk for jdk in found.values() if jdk not in named]
    return named + sorted(others, key=lambda jdk: jdk.major, reverse=True)


def _candidates(roots: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    for variable in ("ES_JAVA_HOME", "JAVA_HOME"):
        if value := os.environ.get(variable):
            yield Path(value).expanduser().absolute(), variable
    if java := shutil.which("java"):
        yield Path(java).resolve().parent.parent, "PATH"
    for root in roots:
        for folder in sorted(root.glob("*")):
            inner = folder / "Contents" / "Home"  # macOS
            yield (inner if inner.is_dir() else folder), str(root)


def fetch_jdk(cache: Path, found: list[Jdk], minimum: int) -> Jdk:
    """Bring a JDK with `cjdk`, where the network allows it.

    It runs in a process of its own, so that a network that swallows packets cannot hold the caller for ever.

    :param cache: folder to keep it in.
    :param found: what was found instead; named in the error.
    :param minimum: the lowest Java version that would do; named in the error.
    :raises JdkNotFoundError: if it cannot be fetched.
    """
    logger.warning("no JDK on this machine can run Elasticsearch; trying to fetch %s (about 200 MB)", FETCHED)
    reasons = tuple(f"{jdk.home}: {jdk.lack(minimum)}" for jdk in found)
    try:
        _cjdk(cache, "ls", "--available", seconds=INDEX_SECONDS)
        home = Path(_cjdk(cache, "java-home", seconds=FETCH_SECONDS))
    except (OSError, subprocess.SubprocessError) as error:
        seen = f" (seen: {'; '.join(reasons)})" if reasons else ""
        message = f"no JDK >= {minimum} found{seen}, and none could be fetched: {_why(error)}. {install_hint()}"
        raise JdkNotFoundError(message, minimum=minimum, found=reasons) from error
    jdk = read_release(home, "cjdk")
    if jdk is None or jdk.lack(minimum):
        message = f"the JDK fetched to {home} cannot run Elasticsearch. {install_hint()}"
        raise JdkNotFoundError(message, minimum=minimum, found=reasons)
    return jdk


def install_hint() -> str:
    """Name the package to install on this system."""
    if platform.system() == "Darwin":
        how = "brew install --cask temurin"
    elif shutil.which("apt-get"):
        how = "apt-get install openjdk-17-jdk-headless (or a newer one)"
    elif shutil.which("dnf"):
        how = "dnf install java-21-openjdk-devel"
    else:
        how = "a Temurin JDK 21 or newer from Eclipse Adoptium"
    return f"Install one: {how}; or set ES_JAVA_HOME to its folder; or give the URL of a server with --es"


def _cjdk(cache: Path, *arguments: str, seconds: float) -> str:
    command = [sys.executable, "-m", "cjdk", "--jdk", FETCHED, "--cache-dir", str(cache / "cjdk"), "--no-progress"]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=True, timeout=seconds, umask=0o022
    )
    return done.stdout.strip()


def _why(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"the network did not answer within {error.timeout:.0f} s"
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line.strip() for line in str(error.stderr).splitlines() if line.strip()]
        return lines[-1][:200] if lines else f"cjdk ended with status {error.returncode}"
    return str(error)
