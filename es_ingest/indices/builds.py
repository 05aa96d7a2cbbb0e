"""Indices that are built beside the ones that are searched, and what each keeps of that in its mapping.

``medte_build`` in the mapping's `_meta` says for which alias an index was built and from what, and whether it is still
being built. So the same command after a crash goes on with the same index, no other machine builds for the same alias
meanwhile, and a rollback knows which indices there are to go back to.
"""

import datetime
import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import orjson
from elasticsearch import Elasticsearch

from es_ingest.indices.deletion import start_over
from es_ingest.indices.meta import keep_in_meta
from es_ingest.indices.trial import try_out
from es_ingest.search import readable_index
from es_ingest.stream.locking import alone
from es_ingest.stream.target import ledger_folder, ledger_path, target_of
from medte_haystack.errors import IndexContractError, IndexMissingError
from medte_haystack.index import IndexSpec, Server, describe_index, run

logger = logging.getLogger(__name__)

KEY = "medte_build"
State = Literal["building", "done", "withdrawn"]
_WAIT = "wait for it to end, then run the same command again"
_TIME = re.compile(r"-\d{8}-\d{6}(-\d+)?$")  # at the end of a name made here


@dataclass(frozen=True, slots=True)
class Build:
    """What an index keeps of how it came about.

    :param index: The index.
    :param alias: Alias it was built for; None for none.
    :param origin: What it is built from, see :func:`origin_of`.
    :param time: When it took over its alias's name; while it is being built, when that began. ISO 8601, UTC.
    :param state: ``building``; ``done`` once it is whole; ``withdrawn`` after a rollback to an older one.
    :param position: How far a copy has come: for each shard, by its number, the `_seq_no` of what was copied last.
    :param before: The index that the alias stood for until this one took it over; None if there was none.
    """

    index: str
    alias: str | None
    origin: str
    time: str
    state: State = "building"
    position: dict[str, int] | None = None
    before: str | None = None

    def to_meta(self) -> dict[str, Any]:
        """Return it as it goes to `_meta`."""
        return {KEY: {name: value for name, value in asdict(self).items() if name != "index"}}

    def replaces(self, other: "Build") -> bool:
        """Tell whether it is being built for what the other one is: only one of them can go on."""
        same = self.alias == other.alias and (self.alias is not None or self.origin == other.origin)
        return same and self.state == "building"

    def keep(self, client: Elasticsearch, **changes: Any) -> "Build":
        """Change it in the index, and return it as changed."""
        changed = replace(self, **changes)
        keep_in_meta(client, self.index, KEY, changed.to_meta()[KEY])
        return changed


def now() -> str:
    """Return the time as builds keep it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def origin_of(*parts: object) -> str:
    """Return what tells apart what indices are built from; a hash, since paths of sources are nobody's business."""
    return hashlib.blake2b(orjson.dumps(parts), digest_size=16).hexdigest()


def builds(client: Elasticsearch) -> list[Build]:
    """Return the indices that were built, or are being built, the oldest first."""
    answer = client.indices.get_mapping(index="*", filter_path=f"*.mappings._meta.{KEY}")
    found = [Build(index, **body["mappings"]["_meta"][KEY]) for index, body in answer.items()]
    return sorted(found, key=lambda one: one.time)


def holder(client: Elasticsearch, alias: str) -> str | None:
    """Return the index that an alias stands for, None if there is no such alias.

    :raises IndexContractError: If it is the name of an index, or stands for several.
    """
    try:
        name: str = run(client, describe_index(alias)).name
    except IndexMissingError:
        return None
    if name == alias:
        raise IndexContractError(
            f"{alias!r} is an index, so it cannot be an alias; take another name, and bring what it holds there with"
            f" `es-ingest rebuild {alias} --alias NAME`, or write into it with --index",
            index=alias,
        )
    return name


def check_whole(client: Elasticsearch, index: str) -> None:
    """Check that an index is one of ours, and no longer being built.

    :param index: The index itself.
    :raises IndexMissingError: If it does not exist.
    :raises IndexContractError: If it is something else.
    """
    name = readable_index(client, index).name
    if name != index:
        raise IndexContractError(f"{index!r} is an alias of {name!r}; name an index", index=index)
    held = {one.index: one for one in builds(client)}.get(index)
    if held and held.state == "building" and (held.alias is None or holder(client, held.alias) != index):
        raise IndexContractError(
            f"index {index!r} is not whole: it is being built, or its building broke off; name another", index=index
        )


@contextmanager
def building(
    client: Elasticsearch,
    stem: str,
    *,
    alias: str | None,
    origin: str,
    name: str | None = None,
    fresh: bool = False,
    by_ledger: bool = False,
) -> Iterator[Build]:
    """Choose an index to build, for the time of a ``with`` block: the one that was begun before, or a new name.

    Other processes of this machine cannot do the same meanwhile; call :func:`claim` when the index is made.

    :param stem: What a new name begins with.
    :param alias: Alias that the index will take over; None for none.
    :param origin: What it is built from.
    :param name: The new index's name; None makes one of the stem and the time.
    :param fresh: Do not go on with what was begun before; :func:`clear` deletes it.
    :param by_ledger: Whether it can go on only where the index's ledger is.
    :returns: What the index keeps, or shall keep when it is made.
    :raises LedgerError: If another process builds the same.
    :raises IndexContractError: If one was begun from something else or elsewhere, or the name is taken.
    """
    config = next(iter(client.transport.node_pool.all())).config
    place = hashlib.blake2b(f"{config.host}:{config.port}".encode(), digest_size=4).hexdigest()
    with alone(ledger_folder() / f"{alias or stem}-{place}.build", f"the building of {alias or stem!r}"):
        wanted = Build(name or _free_name(client, stem), alias, origin, now())
        unfinished = _unfinished(client, wanted)
        if unfinished and not fresh:
            _check_begun(client, unfinished[0], wanted, by_ledger=by_ledger)
            yield unfinished[0]
            return
        cleared = {one.index for one in unfinished}
        if name is not None and name not in cleared and client.indices.exists(index=name):
            raise IndexContractError(f"index {name!r} is there already; give another name, or delete it", index=name)
        yield wanted


def clear(client: Elasticsearch, build: Build, spec: IndexSpec, server: Server) -> None:
    """Delete what was begun before for the same, if a new index can be made instead.

    :param build: What the new one shall keep.
    :param spec: What it shall be.
    :raises IndexContractError: If it cannot be made; nothing is deleted then.
    :raises LedgerError: If another process writes into what was begun.
    """
    first = partial(try_out, client, _TIME.sub("", build.index), spec, server)
    for one in builds(client):
        if one.replaces(build):
            start_over(client, one.index, first=first)


def claim(client: Elasticsearch, build: Build) -> None:
    """Check that nobody else is building the same; call it once the index is made.

    Of two machines that begin at the same time, the one whose index was made later gives way; of two indices that were
    made in the same millisecond, the one whose name comes later.

    :raises IndexContractError: If somebody else is; the index that was made for nothing is deleted.
    """
    found = {one.index: one for one in builds(client)}
    if found.get(build.index) != build:
        raise IndexContractError(f"index {build.index!r} is being built by somebody else; {_WAIT}", index=build.index)
    rivals = [name for name, one in found.items() if one.replaces(build) and name != build.index]
    settings = client.indices.get_settings(
        index=[build.index, *rivals], name="index.creation_date", ignore_unavailable=True, flat_settings=True
    )
    made = {name: int(body["settings"]["index.creation_date"]) for name, body in settings.items()}
    for name in rivals:
        if name in made and (made[name], name) < (made[build.index], build.index):
            client.indices.delete(index=build.index)
            raise IndexContractError(
                f"index {name!r} is being built for the same, and was begun first; {_WAIT}", index=name
            )


def _unfinished(client: Elasticsearch, wanted: Build) -> list[Build]:
    held = None if wanted.alias is None else holder(client, wanted.alias)
    unfinished = []
    for one in builds(client):
        if one.index == held and one.state != "done":  # killed between taking over the name and saying so
            one.keep(client, state="done", time=now())
        elif one.replaces(wanted):
            unfinished.append(one)
    return unfinished


def _check_begun(client: Elasticsearch, begun: Build, wanted: Build, *, by_ledger: bool) -> None:
    """Check that what was begun can be gone on with here."""
    if begun.origin != wanted.origin:
        raise IndexContractError(
            f"index {begun.index!r} was begun for alias {begun.alias!r} from something else and is not whole; finish it"
            " by the command that began it, or delete it with --fresh",
            index=begun.index,
        )
    if by_ledger and not ledger_path(target_of(client, begun.index)).is_file():
        raise IndexContractError(
            f"index {begun.index!r} was begun for alias {begun.alias!r} elsewhere, where it may still be built: its"
            f" ledger is not in {ledger_folder()}; finish it there, or delete it with --fresh",
            index=begun.index,
        )
    logger.info("going on with index %s, begun %s (--fresh begins anew)", begun.index, begun.time[:19])


def _free_name(client: Elasticsearch, stem: str) -> str:
    stem = _TIME.sub("", stem.lower())
    wanted = f"{stem}-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}"
    name, number = wanted, 1
    while client.indices.exists(index=name):
        number += 1
        name = f"{wanted}-{number}"
    return name
