"""An alias goes from one index to another in one step, so that no search through it fails or finds nothing."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from elasticsearch import ApiError, Elasticsearch, NotFoundError

from es_ingest.indices.builds import Build, builds, check_whole, holder, now
from es_ingest.indices.graph import await_graph
from es_ingest.indices.verify import PARTIAL, Verification
from es_ingest.ingest import start_over
from medte_haystack.errors import IndexContractError, MedTEError
from medte_haystack.index.server_errors import cause_of

logger = logging.getLogger(__name__)

KEEP = 1


class NotWholeError(MedTEError):
    """A new index does not hold what it should, so it takes no other's place; `verification` says what was found."""

    verification: Verification


@dataclass(frozen=True, slots=True)
class Switch:
    """What became of an alias.

    :param alias: The alias.
    :param before: Index that it stood for before, None if it is new.
    :param after: Index that it stands for now.
    :param deleted: Older indices of it that were deleted.
    """

    alias: str
    before: str | None
    after: str
    deleted: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return asdict(self)


def take_over(
    client: Elasticsearch, build: Build, found: Verification, *, keep: int = KEEP, instead_of: str | None = None
) -> Switch:
    """Let an index that is whole take over its alias, and delete older ones.

    Records that were refused do not stand in the way: `--max-dead` says how many of them there may be.

    :param build: The index, built for an alias.
    :param found: What its verification has found.
    :param keep: How many older indices of the alias stay.
    :param instead_of: The index that the alias must stand for until now; None takes any.
    :raises NotWholeError: If the verification found anything, or the index is empty.
    :raises IndexContractError: If the alias stands for another index meanwhile.
    """
    assert build.alias is not None  # noqa: S101  else there is nothing to take over
    before = holder(client, build.alias)
    if wrong := found.wrong(but=PARTIAL) if found.chunks else "it holds nothing":
        raise NotWholeError(
            f"index {build.index!r} is not whole, so alias {build.alias!r} stays {_on(before)}: {wrong}",
            verification=found,
        )
    if instead_of not in (None, before):
        raise IndexContractError(
            f"alias {build.alias!r} stands for {before!r} now, no more for {instead_of!r} that {build.index!r} was made"
            " of; the same command with --fresh makes it anew",
            index=build.index,
        )
    await_graph(client, build.index)
    move(client, build.alias, before, build.index)
    build.keep(client, state="done", time=now(), before=before)
    return Switch(build.alias, before, build.index, tuple(_prune(client, build.alias, build.index, keep)))


def roll_back(client: Elasticsearch, alias: str, to: str | None = None) -> Switch:
    """Let an alias stand for an older index again: the next older one that took it over, or one that is named.

    What took it over after that index counts as withdrawn, so that a second rollback goes on to a still older one.

    :param to: The index; one that was withdrawn may be named too, and one that was not built for the alias but stood
        for it once.
    :raises IndexContractError: If there is no such alias, no older index, or the one named never stood for it.
    """
    before = holder(client, alias)
    if before is None:
        raise IndexContractError(
            f"there is no alias {alias!r}; `es-ingest run … --alias {alias}` makes it", index=alias
        )
    found = [one for one in builds(client) if one.alias == alias]
    whole = {one.index: one for one in found if one.state != "building" or one.index == before}
    others = [name for name in _kept(client, whole.values()) if name != before]
    if to is None:
        since = whole[before].time if before in whole else ""
        older = [one for one in whole.values() if one.state == "done" and one.time < since and one.index != before]
        if not older:
            raise IndexContractError(
                f"no older index of alias {alias!r} than {before!r} is kept; --to names another one"
                f" ({_listed(others)})",
                index=alias,
            )
        to = older[-1].index
    elif to in {one.index for one in found} or to in others:
        check_whole(client, to)
    elif to != before:
        raise IndexContractError(
            f"index {to!r} never stood for alias {alias!r}; --to names one that did ({_listed(others)})", index=alias
        )
    target = whole.get(to)
    for one in whole.values():
        if target is None or one.time > target.time:
            one.keep(client, state="withdrawn")
    move(client, alias, before, to)
    if target is not None:
        target.keep(client, state="done")
    return Switch(alias, before, to)


def move(client: Elasticsearch, alias: str, before: str | None, after: str) -> None:
    """Take an alias from one index and give it to another in one step, with its filter and routing.

    :raises IndexContractError: If it stands for another index meanwhile.
    """
    if before == after:
        return
    try:
        if before is None:
            # A write index, since there can be one alone: else two that are added at the same time would both stay.
            actions: list[dict[str, Any]] = [{"add": {"index": after, "alias": alias, "is_write_index": True}}]
        else:
            shape = client.indices.get_alias(index=before, name=alias)[before]["aliases"][alias]
            actions = [
                {"remove": {"index": before, "alias": alias, "must_exist": True}},  # else all of it fails
                {"add": {**shape, "index": after, "alias": alias}},
            ]
        client.indices.update_aliases(actions=actions)
    except ApiError as error:
        if not isinstance(error, NotFoundError) and "more than one write index" not in cause_of(error)[1]:
            raise
        what = "made" if before is None else f"taken from {before!r}"
        raise IndexContractError(
            f"alias {alias!r} was {what} by somebody else meanwhile; look, then run the same command again", index=alias
        ) from error
    logger.info("alias %s: %s -> %s", alias, before or "new", after)


def _prune(client: Elasticsearch, alias: str, current: str, keep: int) -> list[str]:
    others = [one for one in builds(client) if one.alias == alias and one.state != "building" and one.index != current]
    others.sort(key=lambda one: (one.state == "done", one.time), reverse=True)
    deleted = []
    for one in others[keep:]:
        if any(body["aliases"] for body in client.indices.get_alias(index=one.index).values()):
            logger.warning("index %s stays: another alias stands for it", one.index)
            continue
        start_over(client, one.index)
        deleted.append(one.index)
    return deleted


def _kept(client: Elasticsearch, whole: Collection[Build]) -> list[str]:
    """List the indices that an alias may go to: built for it, or what it stood for before, while it is there."""
    built = [one.index for one in whole]
    former = dict.fromkeys(one.before for one in whole if one.before)
    return built + [name for name in former if name not in built and client.indices.exists(index=name)]


def _listed(names: Sequence[str]) -> str:
    return f"there are: {', '.join(names) or 'none'}"


def _on(index: str | None) -> str:
    return "unmade" if index is None else f"on {index!r}"
