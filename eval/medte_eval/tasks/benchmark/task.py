"""What a row of the benchmark's table states."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from medte_eval.tasks.rows import Row

if TYPE_CHECKING:
    from medte_eval.tasks.building.workbench import Workbench

Kind = Literal["Classification", "Clustering", "PairClassification", "Retrieval"]

MAIN_SCORES: Mapping[Kind, str] = MappingProxyType(
    {
        "Classification": "f1",
        "Clustering": "v_measure",
        "PairClassification": "similarity_f1",
        "Retrieval": "ndcg_at_10",
    }
)
LLM_FREE = ".LLMFree"
"""What follows the name of a task that a language model would have helped to make, and did not."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a language model is asked to make of a document.

    :param name: Tells it from others.
    :param system: The model's role.
    :param task: What to do; the document's parts follow it as JSON.
    :param keys: Keys of the JSON object that is the answer, each a string that is not blank; none for plain text.
    """

    name: str
    system: str
    task: str
    keys: tuple[str, ...] = ()


class Recipe(ABC):
    """How the rows of a task are made from its source."""

    prompt: Prompt | None = None
    """What a language model is asked, where one takes part."""
    llm_free: str = ""
    """What takes the place of the model's texts where there is no model."""

    @abstractmethod
    def rows(self, bench: "Workbench") -> Iterable[Row]:
        """Make the rows, in any order and more than the task's cap.

        :raises ReadError: If the source cannot be read, or gives too little.
        """


@dataclass(frozen=True, slots=True)
class HardNegatives:
    """How negative pairs are drawn.

    :param k: How many of the nearest second texts one is drawn from.
    :param other_text: Whether its text must differ from the positive's.
    """

    k: int
    other_text: bool = False


@dataclass(frozen=True, slots=True)
class BenchmarkTask:
    """A task of the benchmark.

    :param number: Its place in the table; 0 for the reserve.
    :param name: As given to ``--tasks``.
    :param kind: mteb's type.
    :param source: A key of `SOURCES`.
    :param original: What the benchmark's own result files call it.
    :param description: What is asked, in a line.
    :param recipe: How its rows are made.
    :param cap: Most rows kept.
    :param negatives: How negatives are drawn for the pairs of the recipe; None where the recipe makes them itself.
    :param labels: Its classes, where they are fixed.
    :param differences: What differs from the benchmark by design, whatever the options.
    """

    number: int
    name: str
    kind: Kind
    source: str
    original: str
    description: str
    recipe: Recipe = field(repr=False)
    cap: int
    negatives: HardNegatives | None = None
    labels: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def main_score(self) -> str:
        """Name of the score that counts."""
        return MAIN_SCORES[self.kind]

    @property
    def uses_llm(self) -> bool:
        """Whether a language model takes part in making it."""
        return self.recipe.prompt is not None

    @property
    def reserve(self) -> bool:
        """Whether it is the one that the benchmark may or may not have: off unless it is named."""
        return not self.number

    @property
    def llm_free_name(self) -> str:
        """Name of what is built without a language model."""
        return self.name + LLM_FREE if self.uses_llm else self.name
