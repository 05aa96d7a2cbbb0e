"""What a leaderboard says. Scores, means and deviations are in [0, 1]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mean:
    """Mean of the main scores of several tasks.

    :param value: The mean.
    :param tasks: Whose mean it is.
    :param of: How many tasks it should be of; as many make it comparable with others.
    :param deviation: Standard deviation of a sample; None of one task, and where it is not published.
    :param variants: How many of them are not quite the benchmark's tasks: made without a language model, which is
        easier, or of a part of their source, or asked a sample of their queries.
    """

    value: float
    tasks: tuple[str, ...]
    of: int
    deviation: float | None = None
    variants: int = 0

    @property
    def whole(self) -> bool:
        """Whether it is the mean of all tasks, as they are defined."""
        return len(self.tasks) == self.of and not self.variants


@dataclass(frozen=True, slots=True)
class Standing:
    """A row of a leaderboard.

    :param name: System and model, or the name of a published model.
    :param mark: The setup's; None for published scores.
    :param published: Where they are published; None for what was measured.
    :param means: By task type; none of a type without results.
    :param mean: Of the types' means, in which each type counts the same; None where a type is missing.
    :param over_tasks: Of all tasks, in which each task counts the same.
    :param by_source: Means by source; none of a source without results, and none where they are not published.
    :param seconds: Mean run time of a task, indexing and searching; None where that of a task is not known.
    """

    name: str
    mark: str | None
    published: str | None
    means: Mapping[str, Mean]
    mean: float | None
    over_tasks: Mean
    by_source: Mapping[str, Mean]
    seconds: float | None

    @property
    def whole(self) -> bool:
        """Whether it is of all tasks."""
        return self.over_tasks.whole


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Systems and models by the means of their scores.

    :param name: Of the benchmark.
    :param types: Task types to how many tasks there are.
    :param sources: Sources to how many tasks there are; none where they are not known.
    :param rows: The best first; those with all tasks before the others.
    """

    name: str
    types: Mapping[str, int]
    sources: Mapping[str, int]
    rows: Sequence[Standing]

    @property
    def tasks(self) -> int:
        """How many tasks there are."""
        return sum(self.types.values())

    @property
    def measured(self) -> list[Standing]:
        """The rows that are not published ones, in the order of their marks."""
        rows = [(row.mark, row) for row in self.rows if row.mark is not None]
        return [row for _, row in sorted(rows, key=lambda one: (len(one[0]), one[0]))]

    @property
    def measured_sources(self) -> dict[str, int]:
        """The sources of which something was measured, and how many tasks there are."""
        having = {source for row in self.measured for source in row.by_source}
        return {source: number for source, number in self.sources.items() if source in having}
