"""Opens sources for a build, and tells afterwards what was read of them."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from medte_eval.tasks.benchmark.sources import SOURCES

if TYPE_CHECKING:
    from medte_eval.sources.access import Access


class Opener(Protocol):
    """What tasks get their sources from."""

    def open(self, source: str) -> Any:
        """Open a source by its name in `SOURCES`."""
        ...

    def export(self, source: str) -> str | None:
        """Return a hash of the local export that is read instead of the network; None if there is none."""
        ...

    def snapshot(self, source: str) -> dict[str, Any]:
        """Tell what was read of a source since it was last opened."""
        ...


class Sources:
    """The sources as they are: over the network, from what was fetched before, or from local exports.

    :param cache: Folder of what was fetched.
    :param offline: Fetch nothing.
    :param exports: Names of sources to files or folders.
    """

    def __init__(self, cache: Path, *, offline: bool = False, exports: Mapping[str, Path] | None = None) -> None:
        self._cache = cache
        self._offline = offline
        self._exports = dict(exports or {})
        self._opened: dict[str, Access] = {}
        self._hashes: dict[str, str] = {}

    def open(self, source: str) -> Any:
        """Open a source; each time its replies are counted anew."""
        from medte_eval.sources.access import Access

        access = Access(self._cache, self._offline, self._exports.get(source))
        self._opened[source] = access
        return SOURCES[source].open(access)

    def export(self, source: str) -> str | None:
        """Return a hash of the export's content, as it was when it was first asked for."""
        from medte_eval.sources.exports import content_hash

        path, row = self._exports.get(source), SOURCES[source]
        if path is None:
            return None
        if source not in self._hashes:
            self._hashes[source] = content_hash(row.title, path, row.reads)
        return self._hashes[source]

    def snapshot(self, source: str) -> dict[str, Any]:
        """Tell what was read of a source since it was last opened: an export, or which replies from when."""
        if (digest := self.export(source)) is not None:
            name = self._exports[source].resolve().name  # the rest of the path is nobody else's business
            return {"export": name, "sha256": digest, "read": datetime.datetime.now(datetime.UTC).date().isoformat()}
        return dict(self._opened[source].snapshot())
