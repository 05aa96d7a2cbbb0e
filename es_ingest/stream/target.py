"""Which index a ledger is about, and where it is kept."""

import os
from dataclasses import dataclass
from pathlib import Path

from elasticsearch import Elasticsearch


@dataclass(frozen=True, slots=True)
class Target:
    """What a ledger is about; another index of the same name, elsewhere or later, is another target.

    :param index: Name of the index.
    :param uuid: The index's uuid.
    """

    index: str
    uuid: str


def target_of(client: Elasticsearch, index: str) -> Target:
    """Return which index a name stands for, as a ledger knows it.

    :param index: The index itself, no alias.
    """
    settings = client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    return Target(index, str(settings["index.uuid"]))


def ledger_folder() -> Path:
    """Return where ledgers and dead letters are kept: ``ES_INGEST_STATE``, or the user's state folder."""
    if chosen := os.environ.get("ES_INGEST_STATE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "es-ingest"


def ledger_path(target: Target) -> Path:
    """Return where the ledger of an index is kept, unless the user names a file."""
    return ledger_folder() / f"{target.index}-{target.uuid}.sqlite"
