"""What a recipe works with: the sources, samples that come out the same every time, perhaps a language model."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from medte_eval.tasks.benchmark.task import Prompt

if TYPE_CHECKING:
    from medte_eval.tasks.building.rephrase import Rephraser

T = TypeVar("T")
SEED = 42


class Workbench:
    """What one task is built with.

    :param open_source: Opens a source by its name in `SOURCES`.
    :param seed: Of every sample that is drawn.
    :param max_rows: Keep no more rows than this, and ask a source for no more items; None for the task's own cap.
    :param faithful: Do as the benchmark does where we would do otherwise.
    :param rephraser: Asks a language model; None for the variant without one.
    """

    def __init__(
        self,
        open_source: Callable[[str], Any],
        *,
        seed: int = SEED,
        max_rows: int | None = None,
        faithful: bool = False,
        rephraser: "Rephraser | None" = None,
    ) -> None:
        self.open_source = open_source
        self.seed = seed
        self.max_rows = max_rows
        self.faithful = faithful
        self.rephraser = rephraser
        self.differences: list[str] = []
        """What turned out to differ from the benchmark while the rows were made."""
        self.dropped: Counter[str] = Counter()
        """Items of the source that gave no row, by the reason."""

    def at_most(self, number: int) -> int:
        """Return a limit, or `max_rows` where that is less."""
        return number if self.max_rows is None else min(number, self.max_rows)

    def draw(self, items: Iterable[T], number: int, key: Callable[[T], Any] | None = None) -> list[T]:
        """Draw a uniform sample without replacement; all where there are no more.

        :param number: How many; `max_rows` where that is less.
        :param key: What tells the items apart, the same on every build; the items themselves where there is none.
        :returns: The sample in the key's order, whatever the order of the items.
        """
        ordered: list[T] = sorted(items, key=key)  # type: ignore[type-var,arg-type]
        number = self.at_most(number)
        if len(ordered) <= number:
            return ordered
        kept = sorted(random.Random(self.seed).sample(range(len(ordered)), number))  # noqa: S311  a repeatable sample
        return [ordered[at] for at in kept]

    def draw_exactly(self, items: Iterable[T], number: int, key: Callable[[T], Any] | None = None) -> list[T]:
        """Draw as `draw` does, and note where there are fewer items, at which the benchmark's own programs fail."""
        drawn = self.draw(items, number, key)
        if len(drawn) < self.at_most(number):
            self.differences.append(
                f"all {len(drawn):,} rows are taken before anything else is done, where the benchmark draws {number:,}"
                " and fails with fewer"
            )
        return drawn

    def replies(
        self, prompt: Prompt, items: Sequence[T], parts: Callable[[T], Mapping[str, Any]]
    ) -> Iterator[tuple[T, Mapping[str, str]]]:
        """Ask the language model about each item; those without an answer that can be used are dropped and counted.

        :param parts: What of an item the model is shown.
        :returns: Items with the answers by the prompt's keys ("text" for a plain one), in the items' order.
        :raises ReadError: If the model fails again and again, or may be asked no more.
        """
        assert self.rephraser is not None  # noqa: S101  the caller has seen it
        for item, reply in zip(items, self.rephraser.ask(prompt, [parts(item) for item in items]), strict=True):
            if reply is None:
                self.dropped["no usable reply of the language model"] += 1
            else:
                yield item, reply
