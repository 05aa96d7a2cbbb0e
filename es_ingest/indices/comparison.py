"""An index compared with its ledger, chunk by chunk, as both are read in the order of the records' ids."""

import heapq
import random
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from elasticsearch import Elasticsearch

from es_ingest.indices.snapshot import pages
from medte_haystack.index.contract import CHUNK_END, CHUNK_INDEX, CHUNK_START, PARENT_ID, chunk_id

_PAGE = 10_000  # the most that a server gives at a time
_NAMED = 5
_PLACE = (PARENT_ID, CHUNK_INDEX, CHUNK_START, CHUNK_END)


@dataclass(slots=True)
class Tally:
    """How often something was found, and the first few ids."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, id: str, count: int = 1) -> None:  # noqa: A002
        """Count something, several times perhaps."""
        self.count += count
        if len(self.first) < _NAMED:
            self.first.append(id)


@dataclass(slots=True)
class Comparison:
    """What an index holds, and what of it is not as it should be. Counts are chunks.

    :param records: Records in the index.
    :param chunks: Chunks in the index.
    :param missing: Chunks that the ledger has, or that lie between others of their record, and the index has not.
    :param surplus: Chunks in the index of which the ledger knows nothing.
    :param partial: Chunks of records of which the server has not acknowledged all.
    :param twice: Chunks with the number of another one of their record.
    :param misplaced: Chunks that begin or end before the one that they follow.
    :param foreign: Documents that are no chunks.
    :param sample: Ids of chunks drawn at random.
    """

    records: int = 0
    chunks: int = 0
    missing: Tally = field(default_factory=Tally)
    surplus: Tally = field(default_factory=Tally)
    partial: Tally = field(default_factory=Tally)
    twice: Tally = field(default_factory=Tally)
    misplaced: Tally = field(default_factory=Tally)
    foreign: Tally = field(default_factory=Tally)
    sample: list[str] = field(default_factory=list)


def compare(
    client: Elasticsearch,
    index: str,
    expected: Iterable[tuple[str, int]] | None,
    unsettled: Set[str] = frozenset(),
    sample: int = 0,
) -> Comparison:
    """Compare an index with what it should hold, in bounded memory.

    :param expected: Id and chunks of every record, by id in the order of code points, which is the server's too; None
        compares chunks with each other alone.
    :param unsettled: Ids of records that may be there in part.
    :param sample: How many chunks to draw.
    """
    comparing = _Comparing(expected, unsettled, sample)
    comparing.go_through(_places(client, index, comparing.found.foreign))
    _count_foreign(client, index, comparing.found.foreign)
    return comparing.found


def differing(client: Elasticsearch, index: str, other: str) -> Tally:
    """Count the chunks that one of two indices has alone, in bounded memory."""

    def placed(name: str) -> Iterator[tuple[str, int, str, str]]:
        for one in _places(client, name, Tally()):
            yield one.parent, one.number, name, one.id

    found = Tally()
    both = heapq.merge(placed(index), placed(other), key=itemgetter(0, 1))
    for _, same in groupby(both, key=itemgetter(0, 1)):
        places = list(same)
        number = sum(1 if name == index else -1 for _, _, name, _ in places)
        if number:
            found.add(places[0][-1], abs(number))
    return found


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a stored chunk belongs."""

    id: str
    parent: str
    number: int
    start: int
    end: int


def _places(client: Elasticsearch, index: str, foreign: Tally) -> Iterator[_Place]:
    """Yield the places of all chunks, by record and number."""
    fields: dict[str, Any] = {"docvalue_fields": list(_PLACE), "source": False}
    query = {"exists": {"field": PARENT_ID}}
    for hits in pages(client, index, size=_PAGE, query=query, sort=[PARENT_ID, CHUNK_INDEX], **fields):
        for hit in hits:
            if all(name in hit["fields"] for name in _PLACE):
                yield _Place(hit["_id"], *(hit["fields"][name][0] for name in _PLACE))
            else:
                foreign.add(hit["_id"])


def _count_foreign(client: Elasticsearch, index: str, foreign: Tally) -> None:
    query = {"bool": {"must_not": {"exists": {"field": PARENT_ID}}}}
    found = client.search(index=index, query=query, size=_NAMED, source=False, track_total_hits=True)["hits"]
    foreign.first = [*foreign.first, *(hit["_id"] for hit in found["hits"])][:_NAMED]
    foreign.count += found["total"]["value"]


class _Comparing:
    def __init__(self, expected: Iterable[tuple[str, int]] | None, unsettled: Set[str], sample: int) -> None:
        self.found = Comparison()
        self._alone = expected is None
        self._expected = iter(expected or ())
        self._unsettled = unsettled
        self._sample = sample

    def go_through(self, places: Iterable[_Place]) -> None:
        """Merge the two, both sorted by id."""
        awaited = next(self._expected, None)
        for parent, group in groupby(places, key=lambda place: place.parent):
            while awaited and awaited[0] < parent:
                self._absent(*awaited)
                awaited = next(self._expected, None)
            if awaited and awaited[0] == parent:
                self._present(parent, group, awaited[1])
                awaited = next(self._expected, None)
            else:
                self._present(parent, group, None if self._alone else 0)
        while awaited:
            self._absent(*awaited)
            awaited = next(self._expected, None)

    def _absent(self, name: str, chunks: int) -> None:
        self.found.missing.add(chunk_id(name, 0), chunks)

    def _present(self, parent: str, places: Iterable[_Place], chunks: int | None) -> None:
        """Look at the chunks of one record.

        :param chunks: How many there should be, None if that is not known.
        """
        found = self.found
        found.records += 1
        partial = parent in self._unsettled
        following, before = 0, None  # the number that is next, the last chunk that is in its place
        for place in places:
            found.chunks += 1
            self._draw(place)
            if partial:
                found.partial.add(place.id)
                continue
            if before and place.number == before.number:
                found.twice.add(place.id)
                continue
            if chunks is not None and (place.number >= chunks or place.id != chunk_id(parent, place.number)):
                found.surplus.add(place.id)
                continue
            if place.number > following:
                found.missing.add(chunk_id(parent, following), place.number - following)
            if not 0 <= place.start <= place.end or (before and (place.start < before.start or place.end < before.end)):
                found.misplaced.add(place.id)
            following, before = place.number + 1, place
        if chunks is not None and not partial and following < chunks:
            found.missing.add(chunk_id(parent, following), chunks - following)

    def _draw(self, place: _Place) -> None:
        """Keep a sample in which each chunk seen so far is with the same chance (algorithm R)."""
        if len(self.found.sample) < self._sample:
            self.found.sample.append(place.id)
        elif (slot := random.randrange(self.found.chunks)) < self._sample:  # noqa: S311  no secret
            self.found.sample[slot] = place.id
