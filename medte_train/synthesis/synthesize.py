"""Notes -> triplets of query, positive and hard negative, each with the note and the places that it comes from."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from es_ingest.records import ReadError
from medte_haystack.errors import TrainingConfigError
from medte_haystack.training.near import words_of
from medte_haystack.training.pairs import Pair
from medte_train.synthesis.asking import Asker, CallFailedError, Message, SpentError
from medte_train.synthesis.notes import Note
from medte_train.synthesis.prompt import DEFAULT_TYPES, QUERY_TYPES, SYSTEM, correction, question
from medte_train.synthesis.reply import RELEVANCE, Made, Passage, check

logger = logging.getLogger(__name__)

LONGEST_NOTE = 24_000
"""Characters of a note that the model is shown: some 6,000 tokens."""
FAILED, NOT_ASKED = "note: the generator failed", "note: calls or tokens were spent"
NOTHING = "note: no usable query"
SAME_QUERY = "query came before"

_TOLD_EVERY = 100  # notes
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class SynthesisOptions:
    """What is made of a note.

    :param types: Kinds of queries, names in `QUERY_TYPES`.
    :param per_type: Queries of each.
    :param least_relevance: Queries whose positive the model itself rates lower are left out.
    :param attempts: Replies to a note, of which all but the first are told what was wrong with the one before.
    :raises TrainingConfigError: If a type is unknown, comes twice, or a number is out of range.
    """

    types: tuple[str, ...] = DEFAULT_TYPES
    per_type: int = 2
    least_relevance: float = 0.5
    attempts: int = 3

    def __post_init__(self) -> None:
        unknown = [name for name in self.types if name not in QUERY_TYPES]
        if unknown or not self.types or len(set(self.types)) < len(self.types):
            raise TrainingConfigError(
                f"types are {', '.join(self.types) or 'none'}; name some of {', '.join(QUERY_TYPES)}, each once"
            )
        if not 1 <= self.per_type <= 10 or not 1 <= self.attempts <= 10:
            raise TrainingConfigError(
                f"per_type is {self.per_type} and attempts {self.attempts}; both must lie between 1 and 10"
            )
        if not 0 <= self.least_relevance <= 1:
            raise TrainingConfigError(f"least_relevance is {self.least_relevance:g}; it must lie between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplet(Pair):
    """A pair made from a note, whose positive and negative are passages of it.

    :param type: Kind of the query.
    :param note: Id of the note.
    :param places: First characters and ends of the passages in the note's text, by ``positive`` and ``negative``.
    :param relevance: As the model says, 0 to 1.
    """

    type: str
    note: str
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    relevance: float

    def to_row(self) -> dict[str, Any]:
        """Return it as a pair's row with fields of its own behind."""
        mine = {"type": self.type, "note": self.note, "places": self.places, "relevance": self.relevance}
        return {**Pair.to_row(self), **mine}


@dataclass(slots=True)
class Synthesis:
    """Makes triplets of notes, in the order of the notes whatever the order of the replies.

    :param asker: Asks the model.
    :param source: The triplets' source.
    :param options: What is made of a note.
    :param at_once: Notes under way at a time.
    :param dropped: Counts what gave no triplet, by the reason.
    """

    asker: Asker
    source: str
    options: SynthesisOptions = SynthesisOptions()
    at_once: int = 4
    dropped: Counter[str] = field(default_factory=Counter)
    notes: int = 0
    triplets: Counter[str] = field(default_factory=Counter)
    with_negative: int = 0

    def make(self, notes: Iterable[Note]) -> Iterator[Triplet]:
        """Stream the triplets of notes; each query once.

        :raises GeneratorError: If the generator fails again and again; what it answered is kept.
        """
        seen: set[str] = set()
        with ThreadPoolExecutor(self.at_once) as pool:
            for note, answered in _in_order(pool, self._ask, notes, 2 * self.at_once):
                self.notes += 1
                self.dropped += answered.dropped
                if self.notes % _TOLD_EVERY == 0:
                    logger.info("%d notes, %d triplets, %d calls", *self._progress())
                for number, made in enumerate(answered.made, start=1):
                    key = " ".join(words_of(made.query))
                    if key in seen:
                        self.dropped[SAME_QUERY] += 1
                        continue
                    seen.add(key)
                    self.triplets[made.type] += 1
                    self.with_negative += made.negative is not None
                    yield self._triplet(note, number, made)

    def report(self) -> dict[str, Any]:
        """Return the numbers, JSON-able."""
        spent = self.asker.spent
        return {
            "source": self.source,
            "notes": self.notes,
            "triplets": self.triplets.total(),
            "types": {name: self.triplets[name] for name in self.options.types},
            "with_negative": self.with_negative,
            "dropped": dict(sorted(self.dropped.items())),
            "calls": spent.calls,
            "answered_before": spent.cached,
            "prompt_tokens": spent.prompt_tokens,
            "completion_tokens": spent.completion_tokens,
        }

    def _progress(self) -> tuple[int, int, int]:
        return self.notes, self.triplets.total(), self.asker.spent.calls

    def _triplet(self, note: Note, number: int, made: Made) -> Triplet:
        places = {"positive": made.positive, **({"negative": made.negative} if made.negative else {})}
        return Triplet(
            id=f"{note.id}#{number}",
            source=self.source,
            anchor=made.query,
            positive=_text(note, made.positive),
            negatives=() if made.negative is None else (_text(note, made.negative),),
            keys=note.keys,
            group=note.id,
            type=made.type,
            note=note.id,
            places={name: (one.start, one.end) for name, one in places.items()},
            relevance=made.relevance,
        )

    def _ask(self, note: Note) -> "_Answered":
        """Ask about a note until all queries can be used, or the tries are spent; what could be used stays."""
        found = _Answered()
        options = self.options
        asked = question(note.text, options.types, options.per_type)
        messages: list[Message] = [("system", SYSTEM), ("user", asked)]
        for attempt in range(1, options.attempts + 1):
            try:
                reply = self.asker.ask(messages)
            except (SpentError, CallFailedError) as error:
                found.dropped[NOT_ASKED if isinstance(error, SpentError) else FAILED] += 1
                return found
            checked = check(reply, note.text, options.types, options.least_relevance)
            found.take(checked.made, options.per_type)
            found.dropped[RELEVANCE] += checked.left_out
            if not checked.problems:
                break
            if attempt == options.attempts:
                found.dropped.update(reason for reason, _ in checked.problems)
            messages += [("assistant", reply), ("user", correction([told for _, told in checked.problems]))]
        if not found.made:
            found.dropped[NOTHING] += 1
        return found


@dataclass(slots=True)
class _Answered:
    """What came of a note."""

    made: list[Made] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    def take(self, made: Iterable[Made], per_type: int) -> None:
        """Take queries that are new, of each type no more than were asked for."""
        for one in made:
            before = [other for other in self.made if other.type == one.type]
            if len(before) < per_type and all(words_of(one.query) != words_of(other.query) for other in self.made):
                self.made.append(one)


def _text(note: Note, passage: Passage) -> str:
    return note.text[passage.start : passage.end]


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[A], B], items: Iterable[A], ahead: int
) -> Iterator[tuple[A, B]]:
    """Do work in several threads and give the results in the order of the items, with few of them read ahead."""
    waiting: deque[tuple[A, Future[B]]] = deque()
    rest = iter(items)
    try:
        while True:
            waiting.extend((item, pool.submit(work, item)) for item in islice(rest, ahead - len(waiting)))
            if not waiting:
                return
            item, future = waiting.popleft()
            yield item, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def refuse_private(notes: Iterable[Note], places: list[str]) -> Iterator[Note]:
    """Stream notes as long as none of them must stay on this machine.

    :param places: Where the generator would send them.
    :raises ReadError: At the first that must.
    """
    for note in notes:
        if note.private:
            raise ReadError(
                "the notes",
                "some look like MIMIC's, which never go to another machine whatever is allowed, and the generator is at"
                f" {', '.join(places)}; take a generator on this one",
            )
        yield note
