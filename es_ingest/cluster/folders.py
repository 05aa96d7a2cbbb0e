"""Where downloads, servers and data lie, and which user may reach them.

``ES_INGEST_HOME`` moves everything. Without it: downloads and unpacked servers under ``XDG_CACHE_HOME`` (default
``~/.cache``) and data under ``XDG_DATA_HOME`` (default ``~/.local/share``), both in a folder ``medte``. Elasticsearch
refuses to run as root; where root calls, the server runs as another user, and where root's home is closed to that
user, the system's folders ``/var/cache/medte`` and ``/var/lib/medte`` take its place.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from es_ingest.cluster.errors import ClusterError, FolderError

SERVER_USERS = ("elasticsearch", "nobody")
SYSTEM_CACHE = Path("/var/cache/medte")
SYSTEM_DATA = Path("/var/lib/medte")


@dataclass(frozen=True)
class ServerUser:
    """The account the server runs as when root calls.

    :param name: its name.
    :param uid: its number.
    :param gid: number of its group.
    """

    name: str
    uid: int
    gid: int


def server_user() -> ServerUser | None:
    """Return the account to run the server as, or None where the caller's own will do.

    :raises ClusterError: if root calls and there is no such account.
    """
    if os.geteuid() != 0:
        return None
    for name in SERVER_USERS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(name, found.pw_uid, found.pw_gid)
    raise ClusterError(
        f"Elasticsearch does not run as root, and neither user {' nor '.join(SERVER_USERS)} exists; "
        "add one with: useradd --system elasticsearch"
    )


def cache_folder(user: ServerUser | None) -> Path:
    """Return the folder for downloads and unpacked servers; it exists and can be written.

    :param user: who must be able to read it.
    :raises FolderError: if it cannot be made or reached.
    """
    if home := _home_override():
        return make_folder(home / "cache", user, fix="set ES_INGEST_HOME to another folder")
    chosen = _xdg("XDG_CACHE_HOME", ".cache")
    if closed_to(user, chosen) and not os.environ.get("XDG_CACHE_HOME"):
        chosen = SYSTEM_CACHE
    return make_folder(chosen, user, fix="set ES_INGEST_HOME or XDG_CACHE_HOME to a folder you can write to")


def data_folder(data: Path | None, user: ServerUser | None) -> Path:
    """Return the absolute path of the data folder, without making it.

    :param data: the folder asked for; None for the default one.
    :param user: who must be able to reach it.
    """
    if data is not None:
        return Path(data).expanduser().absolute()
    if home := _home_override():
        return home / "elasticsearch"
    chosen = _xdg("XDG_DATA_HOME", ".local/share")
    if closed_to(user, chosen) and not os.environ.get("XDG_DATA_HOME"):
        chosen = SYSTEM_DATA
    return chosen / "elasticsearch"


def make_folder(path: Path, user: ServerUser | None, *, fix: str) -> Path:
    """Make a folder with its parents, whatever the umask, and check that it can be written and reached.

    :param path: the folder.
    :param user: who else must be able to reach it; new parents are opened to others when given.
    :param fix: what the reader of the error should do.
    :returns: `path`.
    :raises FolderError: if that is impossible.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755 if user else 0o700)
    except OSError as error:
        raise FolderError(f"cannot make the folder {path}: {error.strerror}; {fix}", path=path) from error
    if not os.access(path, os.W_OK | os.X_OK) or not path.is_dir():
        raise FolderError(f"cannot write to the folder {path}; {fix}", path=path)
    if user and (closed := closed_to(user, path)):
        raise FolderError(
            f"the server runs as user {user.name}, which may not enter {closed}; chmod o+x {closed}, or {fix}",
            path=closed,
        )
    return path


def closed_to(user: ServerUser | None, path: Path) -> Path | None:
    """Return the first existing folder on the way to `path` that `user` may not enter, or None."""
    if user is None:
        return None
    for folder in reversed((path, *path.parents)):
        try:
            found = folder.stat()
        except FileNotFoundError:
            return None
        except OSError:
            return folder
        if found.st_uid == user.uid:
            allowed = stat.S_IXUSR
        elif found.st_gid == user.gid:
            allowed = stat.S_IXGRP
        else:
            allowed = stat.S_IXOTH
        if not found.st_mode & allowed:
            return folder
    return None


def _home_override() -> Path | None:
    home = os.environ.get("ES_INGEST_HOME")
    return Path(home).expanduser().absolute() if home else None


def _xdg(variable: str, default: str) -> Path:
    base = os.environ.get(variable)
    try:
        return (Path(base) if base else Path.home() / default).absolute() / "medte"
    except RuntimeError as error:
        raise FolderError(f"this user has no home folder; set ES_INGEST_HOME: {error}") from error
