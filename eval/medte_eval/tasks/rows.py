"""What a task is made of before it is mteb's: examples with labels, pairs of texts, or texts that belong together.

They sort by their id first. Ids come from the source and are the same on every build; they are what samples are drawn
by.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Example:
    """A text of a class.

    :param licence: The text's own, where the source names one for each; else "".
    """

    id: str
    text: str
    label: str
    licence: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Match:
    """Two texts that belong together: a query and its document, or a positive pair."""

    id: str
    first: str
    second: str
    licence: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """Two texts that belong together (label 1) or do not (0)."""

    id: str
    first: str
    second: str
    label: int
    licence: str = ""


Row = Example | Match | Pair
