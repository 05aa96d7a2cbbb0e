"""Which Elasticsearch runs on which JDK, and how its archive comes here: by Maven coordinates, checked, unpacked."""

import hashlib
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from es_ingest.cluster.errors import DownloadError, FolderError, OptionError
from es_ingest.cluster.folders import ServerUser
from es_ingest.cluster.jdk import Jdk, fetch_jdk, find_jdks
from es_ingest.cluster.state import locked

logger = logging.getLogger("es_ingest.cluster")

GROUP = "org.elasticsearch.distribution.integ-test-zip"
ARTIFACT = "elasticsearch"
INSTALL_SECONDS = 1800
LICENCE = (
    "Elasticsearch %s is licensed by Elastic under the Elastic License 2.0, the SSPL 1.0 or the AGPL 3.0, at your "
    "choice; the text is in %s. It was fetched for you and is not part of this package: do not redistribute it."
)


@dataclass(frozen=True)
class Release:
    """One version of the server.

    :param version: such as 9.5.3.
    :param sha256: of its zip file.
    :param java: the lowest Java version it starts on.
    :param megabytes: size of the zip file.
    """

    version: str
    sha256: str
    java: int
    megabytes: int

    @property
    def path(self) -> Path:
        """Where the archive lies inside a Maven repository."""
        return Path(*GROUP.split("."), ARTIFACT, self.version, f"{ARTIFACT}-{self.version}.zip")


RELEASES = (
    Release("9.5.3", "bec49f3b8d00e75c8d1cec85c35298635ec9fbd3ae80ef5aeb6bc05abdb3db2d", 21, 132),
    Release("8.19.21", "215d5f3dbf0609a149f6218a9e47b6ae2df34ebbff3c5754e35f15a5e5393c8a", 17, 107),
)
Resolver = Callable[[Release, Path], Path]


def choose_release(version: str | None, cache: Path, user: ServerUser | None) -> tuple[Release, Jdk]:
    """Choose the newest release that a JDK of this machine can run; fetch a JDK if there is none.

    :param version: the only version that will do, or None for the best one.
    :param cache: where a fetched JDK is kept.
    :param user: who must be able to reach the JDK.
    :raises OptionError: if the version is unknown.
    :raises JdkNotFoundError: if there is no JDK and none could be fetched.
    """
    wanted = [release for release in RELEASES if version in (None, release.version)]
    if not wanted:
        known = ", ".join(release.version for release in RELEASES)
        raise OptionError(f"Elasticsearch {version} cannot be run locally; choose one of {known}", value=str(version))
    jdks = find_jdks(user)
    for release in wanted:
        for jdk in jdks:
            if not jdk.lack(release.java):
                return release, jdk
    return wanted[0], fetch_jdk(cache, jdks, wanted[-1].java)


def resolve_with_jgo(release: Release, repository: Path) -> Path:
    """Fetch the archive into a Maven repository folder, unless it is there.

    :raises DownloadError: if that fails.
    """
    from jgo.maven import MavenContext
    from requests import RequestException

    archive = repository / release.path
    if not archive.exists():
        logger.info("downloading Elasticsearch %s (%d MB)", release.version, release.megabytes)
    try:
        component = MavenContext(repo_cache=repository, timeout=30).project(GROUP, ARTIFACT).at_version(release.version)
        return Path(component.artifact(packaging="zip").resolve())
    except (RequestException, RuntimeError, OSError) as error:
        archive.unlink(missing_ok=True)  # whatever part of it had come
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        message = (
            f"cannot fetch Elasticsearch {release.version}: {reason}; check the network or proxy, "
            f"put the file at {archive} yourself, or give the URL of a server with --es"
        )
        raise DownloadError(message, path=archive, expected=release.sha256) from error


def fetch(release: Release, cache: Path, resolve: Resolver = resolve_with_jgo) -> Path:
    """Return an archive whose hash is right.

    A bad one is deleted and fetched once more. A copy in ``~/.m2`` is used if its hash is right.

    :param release: what to fetch.
    :param cache: our cache folder.
    :param resolve: brings the archive into a Maven repository folder.
    :raises DownloadError: if it cannot be fetched, or is wrong twice.
    """
    shared = Path("~/.m2/repository").expanduser() / release.path
    if os.access(shared, os.R_OK) and sha256(shared) == release.sha256:
        return shared
    actual, archive = "", cache / "maven" / release.path
    for _ in range(2):
        archive = resolve(release, cache / "maven")
        actual = sha256(archive)
        if actual == release.sha256:
            return archive
        logger.warning("%s is damaged (sha256 %s); deleted", archive, actual)
        archive.unlink()
    message = (
        f"{archive} came damaged twice: its sha256 is {actual}, expected {release.sha256}; "
        "check the proxy or mirror between you and the Maven repository"
    )
    raise DownloadError(message, path=archive, expected=release.sha256, actual=actual)


def install(release: Release, cache: Path, resolve: Resolver = resolve_with_jgo) -> Path:
    """Return the folder of the unpacked server; unpack it first if need be.

    Safe to call from several processes: one works and the others wait.

    :raises DownloadError: if the archive cannot be had.
    :raises FolderError: if it cannot be unpacked, for example on a full disk.
    """
    home = cache / "server" / f"elasticsearch-{release.version}"
    if home.is_dir():
        return home
    with locked(cache / "install.lock", INSTALL_SECONDS, f"another process is installing Elasticsearch in {cache}"):
        if not home.is_dir():
            _unpack(fetch(release, cache, resolve), home)
            logger.warning(LICENCE, release.version, home / "LICENSE.txt")
    return home


def _unpack(archive: Path, home: Path) -> None:
    """Unpack next to the goal and rename, so that a folder of that name is always whole."""
    try:
        home.parent.mkdir(mode=0o755, exist_ok=True)
        home.parent.chmod(0o755)
        with (
            tempfile.TemporaryDirectory(dir=home.parent, prefix=".unpack-") as folder,
            zipfile.ZipFile(archive) as file,
        ):
            for member in file.infolist():
                out = Path(file.extract(member, folder))
                # Zip files keep the permissions here; all may read, for the server may run as another user.
                executable = member.is_dir() or (member.external_attr >> 16) & 0o111
                out.chmod(0o755 if executable else 0o644)
            (unpacked,) = Path(folder).iterdir()
            unpacked.rename(home)
    except OSError as error:
        free = shutil.disk_usage(home.parent).free // 1_000_000 if home.parent.exists() else 0
        message = f"cannot unpack {archive} to {home}: {error} ({free} MB free); free space or set ES_INGEST_HOME"
        raise FolderError(message, path=home) from error


def sha256(path: Path) -> str:
    """Return the hash of a file as hexadecimal text."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
