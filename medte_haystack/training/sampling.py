"""Which rows make up the batch of each step.

Every batch is of one source, unless all sources are to be one. A source is gone through epoch by epoch: its rows are
shuffled, within regions where there are such, and cut into batches; none of these holds a text or a group twice, for
the other one would be a negative that is none. Sources take turns in rounds, in each of which every source has a fixed
number of batches, in shuffled order. With a mixing temperature of 1 these are as many as its epoch has: then a round is
an epoch of them all (section 4.1 of MedTE's recipe).

All of it follows from the seed, so the rows of any step can be told again.
"""

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from medte_haystack.errors import TrainingDataError
from medte_haystack.training.table import SourceRows

Rows = NDArray[np.int64]
Regions = Callable[[SourceRows, int], Sequence[Rows]]
"""Gives the regions of a source in its epoch, counted from 0: row numbers that may share a batch."""

_SCANNED = 16  # batches' worth of rows that are looked through to fill one


class Texts(Protocol):
    """What tells whether two rows share a text."""

    def own_ids(self, row: int) -> list[int]:
        """Return ids of a row's text 1, text 2, and group if it has one."""
        ...

    def negative_ids(self, row: int) -> Sequence[int]:
        """Return ids of its hard negatives."""
        ...


def everywhere(source: SourceRows, epoch: int) -> Sequence[Rows]:  # noqa: ARG001
    """Return one region with all rows."""
    return [source.rows]


def as_one(sources: Sequence[SourceRows]) -> list[SourceRows]:
    """Return one source with the rows of all."""
    return [SourceRows("all sources", np.concatenate([source.rows for source in sources]))]


class StepBatches(Sampler[list[int]]):
    """Gives the row numbers of one batch a step.

    :param sources: The sources.
    :param texts: Their texts.
    :param size: Most rows of a batch.
    :param smallest: Least rows of a batch, for sources that have so many; rows that do not suffice for one are left out
        of that epoch.
    :param seed: Of all draws.
    :param regions: Where batches of a source may come from.
    :param temperature: A source's batches in a round grow with its batches in an epoch to the power of 1 / temperature.
    :param weights: Factors on them, by source.
    :param steps: How many batches to give; None for one round.
    :param part: Which part of each batch to give, and of how many: with several devices each computes its own. A rest
        that is not the same for all is left out.
    """

    def __init__(
        self,
        sources: Sequence[SourceRows],
        texts: Texts,
        size: int,
        smallest: int,
        seed: int,
        *,
        regions: Regions = everywhere,
        temperature: float = 1.0,
        weights: Mapping[str, float] | None = None,
        steps: int | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self._sources = sources
        self._texts = texts
        self._size, self._smallest = size, smallest
        self._seed = seed
        self._regions = regions
        self._part = part
        self.round = self._shares(temperature, weights or {})
        """Batches in a round by source."""
        self._steps = steps or sum(self.round.values())

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[int]]:
        number, parts = self._part
        for batch in self._batches():
            whole = len(batch) - len(batch) % parts
            yield batch[number:whole:parts]

    def _batches(self) -> Iterator[list[int]]:
        streams = {source.name: self._stream(source) for source in self._sources}
        turns = [name for name, count in self.round.items() for _ in range(count)]
        for step in range(self._steps):
            number, place = divmod(step, len(turns))
            if place == 0:
                order = np.random.default_rng([self._seed, number]).permutation(len(turns))
            yield next(streams[turns[order[place]]])

    def _stream(self, source: SourceRows) -> Iterator[list[int]]:
        """Give a source's batches, one epoch after the other, without end."""
        epoch = 0
        while True:
            batches = self._epoch(source, epoch)
            if not batches:
                raise TrainingDataError(
                    f"source {source.name!r} makes no batch of {self._least(source)} pairs that share no text and no"
                    f" group: its {len(source.rows):,} pairs repeat too many; lower batches.smallest, or leave the"
                    " source out",
                    source=source.name,
                )
            yield from batches
            epoch += 1

    def _epoch(self, source: SourceRows, epoch: int) -> list[list[int]]:
        draw = np.random.default_rng([self._seed, zlib.crc32(source.name.encode()), epoch])
        regions = self._regions(source, epoch) if len(source.rows) > self._size else [source.rows]
        cuts = [cut(draw.permutation(rows), self._texts, self._size, self._least(source)) for rows in regions]
        batches = list(chain.from_iterable(cuts))
        return [batches[place] for place in draw.permutation(len(batches))]

    def _least(self, source: SourceRows) -> int:
        """Return the least rows of a batch of a source: two, or as many as devices, where it has no whole batch."""
        return max(2, self._part[1]) if len(source.rows) <= self._size else max(self._smallest, self._part[1])

    def _shares(self, temperature: float, weights: Mapping[str, float]) -> dict[str, int]:
        """Return the batches in a round by source."""
        counts = {}
        for source in self._sources:
            whole, rest = divmod(len(source.rows), self._size)
            counts[source.name] = max(1, whole + (rest >= self._smallest))
        drawn = {name: weights.get(name, 1.0) * count ** (1 / temperature) for name, count in counts.items()}
        scale = sum(counts.values()) / sum(drawn.values())
        return {name: max(1, round(share * scale)) for name, share in drawn.items()}


def cut(order: Rows, texts: Texts, size: int, smallest: int) -> Iterator[list[int]]:
    """Cut rows into batches in which no text or group comes twice, but for hard negatives of several rows.

    A row whose texts or group are in the batch already waits for a later one.

    :param order: Row numbers.
    :param size: Most rows of a batch.
    :param smallest: Least rows of a batch; those of smaller ones are left out.
    """
    waiting = deque(order.tolist())
    while waiting:
        batch: list[int] = []
        later: list[int] = []
        own: set[int] = set()
        offered: set[int] = set()  # own texts and hard negatives
        while waiting and len(batch) < size and len(later) < _SCANNED * size:
            row = waiting.popleft()
            its, negatives = texts.own_ids(row), texts.negative_ids(row)
            if offered.isdisjoint(its) and own.isdisjoint(negatives):
                batch.append(row)
                own.update(its)
                offered.update(its)
                offered.update(negatives)
            else:
                later.append(row)
        waiting.extendleft(reversed(later))
        if len(batch) >= smallest:
            yield batch
