"""What can go wrong on the way to Elasticsearch; each message names the value and the fix, and each error pickles."""

from collections.abc import Sequence
from pathlib import Path


class ClusterError(Exception):
    """Base of every error of this package.

    Subclasses take the message by position and their data by keyword, so that ``pickle`` rebuilds them.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class OptionError(ClusterError):
    """An option or environment variable holds a value that cannot be used.

    :ivar value: the value, with any credentials taken out.
    """

    def __init__(self, message: str, *, value: str = "") -> None:
        super().__init__(message)
        self.value = value


class NoServerError(ClusterError):
    """Nothing that is Elasticsearch answers at the address.

    :ivar url: the address without credentials.
    """

    def __init__(self, message: str, *, url: str = "") -> None:
        super().__init__(message)
        self.url = url


class AuthenticationError(ClusterError):
    """The server answers and refuses the credentials.

    :ivar url: the address without credentials.
    """

    def __init__(self, message: str, *, url: str = "") -> None:
        super().__init__(message)
        self.url = url


class DockerError(ClusterError):
    """The Docker engine does not answer, or its container did not become ready."""


class JdkNotFoundError(ClusterError):
    """No JDK that can run the server was found, and none could be fetched.

    :ivar minimum: the lowest Java version that would do.
    :ivar found: what was found and why it does not do, one entry for each JDK.
    """

    def __init__(self, message: str, *, minimum: int = 0, found: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.minimum = minimum
        self.found = tuple(found)


class DownloadError(ClusterError):
    """The server's archive could not be fetched, or is not the file it should be.

    :ivar path: where the archive lies or should lie.
    :ivar expected: the sha256 it should have.
    :ivar actual: the sha256 it has; empty when there is no file.
    """

    def __init__(self, message: str, *, path: Path | None = None, expected: str = "", actual: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.expected = expected
        self.actual = actual


class FolderError(ClusterError):
    """A folder cannot be made, written to or reached.

    :ivar path: the folder in the way.
    """

    def __init__(self, message: str, *, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


class PortInUseError(ClusterError):
    """The port asked for is taken.

    :ivar port: the port.
    """

    def __init__(self, message: str, *, port: int = 0) -> None:
        super().__init__(message)
        self.port = port


class ServerDiedError(ClusterError):
    """The server ended, or did not become ready in time.

    :ivar returncode: exit status of the server, None when it was still running.
    :ivar log_tail: its last log lines, oldest first.
    """

    def __init__(self, message: str, *, returncode: int | None = None, log_tail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.returncode = returncode
        self.log_tail = tuple(log_tail)


class AlreadyRunningError(ClusterError):
    """Another process holds a server on the same data folder.

    :ivar pid: the process that holds it.
    :ivar data: the data folder.
    """

    def __init__(self, message: str, *, pid: int = 0, data: Path | None = None) -> None:
        super().__init__(message)
        self.pid = pid
        self.data = data


class StartLockError(ClusterError):
    """Another process kept a lock for longer than this one would wait.

    :ivar path: the lock file.
    :ivar waited: seconds waited.
    """

    def __init__(self, message: str, *, path: Path | None = None, waited: float = 0.0) -> None:
        super().__init__(message)
        self.path = path
        self.waited = waited
