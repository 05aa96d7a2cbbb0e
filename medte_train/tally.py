"""What is kept of the pairs that a corpus gives, and the numbers of it."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from medte_haystack.training.pairs import Pair
from medte_haystack.training.table import text_id


@dataclass(slots=True)
class Tally:
    """Numbers of one source.

    :param source: Its name.
    :param records: Read.
    :param malformed: Rows that are no records.
    :param lacking: Pairs that had a text missing or blank.
    :param repeated: Pairs whose text 1 came before.
    :param pairs: Kept.
    :param anchor_characters: Mean length of texts 1.
    :param positive_characters: Mean length of texts 2.
    """

    source: str
    records: int = 0
    malformed: int = 0
    lacking: int = 0
    repeated: int = 0
    pairs: int = 0
    anchor_characters: float = 0.0
    positive_characters: float = 0.0

    def kept(self, pairs: Iterable[Pair], *, symmetric: bool = False) -> Iterator[Pair]:
        """Stream the pairs that have both texts and a text 1 that is new, and count.

        :param pairs: With texts that may be blank.
        :param symmetric: Give each pair the other way round as well.
        """
        seen: set[int] = set()
        for pair in pairs:
            if not (pair.anchor.strip() and pair.positive.strip()):
                self.lacking += 1
                continue
            turned = replace(pair, id=f"{pair.id}~", anchor=pair.positive, positive=pair.anchor)
            for one in (pair, turned) if symmetric else (pair,):
                if (number := text_id(one.anchor)) in seen:
                    self.repeated += 1
                    continue
                seen.add(number)
                self._count(one)
                yield one

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON-able values."""
        lengths = ("anchor_characters", "positive_characters")
        return {name: round(value, 1) if name in lengths else value for name, value in asdict(self).items()}

    def _count(self, pair: Pair) -> None:
        self.pairs += 1
        self.anchor_characters += (len(pair.anchor) - self.anchor_characters) / self.pairs
        self.positive_characters += (len(pair.positive) - self.positive_characters) / self.pairs
