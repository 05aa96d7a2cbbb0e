"""Which training pairs occur in evaluation data: by the ids of their sources, word for word, or nearly."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations
from types import MappingProxyType
from typing import Literal

from medte_haystack.training.near import THRESHOLD, Grams, NearTexts, grams_of, words_of
from medte_haystack.training.pairs import Pair

BEGINNING = 50
"""Words of a text that are compared by themselves, since one text may be the beginning of another."""
EXACT_WORDS = 3
"""Words from which a text that occurs elsewhere is no chance."""
NEAR_WORDS = 20
"""Words from which a text that nearly occurs elsewhere is no chance; shorter ones are often of one pattern."""

Kind = Literal["id", "exact", "near", "beginning", "short"]
KINDS: tuple[Kind, ...] = ("id", "exact", "near", "beginning")
"""Ways in which a pair occurs in evaluation data, in the order in which they are looked for."""
SHORT: Kind = "short"
"""A text of fewer than `EXACT_WORDS` that occurs with another counterpart, which may be chance."""

_LINKED = "subject_id"
_OF_PATIENTS = frozenset({"hadm_id", "note_id", _LINKED})


@dataclass(frozen=True, slots=True)
class Found:
    """How a pair occurs in evaluation data.

    :param kind: The first of `KINDS` that applies, or `SHORT`.
    :param tasks: Every task in which it occurs in this way.
    """

    kind: Kind
    tasks: tuple[str, ...]


class Overlap:
    """Evaluation data, of which hashes are held, and pairs that are looked up in it.

    :param threshold: Least Jaccard index of texts that are nearly the same, see `NearTexts`.
    :param exact_words: Words from which one text of a pair suffices; shorter ones count where both texts of the pair
        occur together.
    :param near_words: Words from which texts are compared nearly.
    """

    def __init__(
        self, *, threshold: float = THRESHOLD, exact_words: int = EXACT_WORDS, near_words: int = NEAR_WORDS
    ) -> None:
        self.threshold = threshold
        self.exact_words = exact_words
        self.near_words = near_words
        self._tasks: dict[str, int] = {}  # to their bits in the sets below
        self._ids: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._texts: defaultdict[bytes, int] = defaultdict(int)
        self._pairs: defaultdict[bytes, int] = defaultdict(int)
        self._wholes = _Near(threshold)
        self._beginnings = _Near(threshold)

    def add(self, task: str, texts: Iterable[str], keys: Mapping[str, str] | None = None) -> None:
        """Add a row of a task.

        :param texts: Texts that belong together, such as a query and its document.
        :param keys: Ids of what they were made of by their kind, as in `Pair.keys`.
        """
        bit = self._tasks.setdefault(task, 1 << len(self._tasks))
        for key in _canonical(keys or {}):
            self._ids[key] |= bit
        rows = [words for words in map(words_of, texts) if words]
        for words in rows:
            known = self._texts[_digest(words)]
            if not known:
                self._add_near(words)
            self._texts[_digest(words)] = known | bit
        for first, second in combinations(rows, 2):
            if min(len(first), len(second)) < self.exact_words:
                self._pairs[_digest_of_both(first, second)] |= bit

    @property
    def of_patients(self) -> bool:
        """Whether ids of patients, their stays or notes are among those that were added."""
        return any(kind in _OF_PATIENTS for kind, _ in self._ids)

    def link(self, pair: Pair) -> None:
        """Learn of which patient a pair is, so that all of a patient is found who occurs with any stay or note."""
        for its in map(_canonical, (pair.keys, pair.anchor_keys)):
            found = _any(self._ids.get(key, 0) for key in its)
            for key in its:
                if found and key[0] == _LINKED:
                    self._ids[key] |= found

    def find(self, pair: Pair) -> Found | None:
        """Tell how a pair occurs; None if it does not."""
        sides = [words for words in (words_of(pair.anchor), words_of(pair.positive)) if words]
        ways: dict[Kind, Callable[[], int]] = {
            "id": lambda: self._by_ids(pair),
            "exact": lambda: self._exactly(sides),
            "near": lambda: self._nearly(self._wholes, [words for words in sides if len(words) >= self.near_words]),
            "beginning": lambda: self._nearly(self._beginnings, _beginnings(sides)),
            SHORT: lambda: _any(self._texts.get(_digest(words), 0) for words in sides),
        }
        for kind, look in ways.items():
            if found := look():
                return Found(kind, tuple(task for task, bit in self._tasks.items() if bit & found))
        return None

    def holds(self, text: str) -> bool:
        """Tell whether a single text occurs, exactly or nearly; one that is short does not."""
        words = words_of(text)
        return bool(
            (len(words) >= self.exact_words and self._texts.get(_digest(words)))
            or (len(words) >= self.near_words and self._nearly(self._wholes, [words]))
            or self._nearly(self._beginnings, _beginnings([words]))
        )

    def _add_near(self, words: Sequence[str]) -> None:
        if len(words) >= self.near_words:
            self._wholes.add(_digest(words), grams_of(words))
        for beginning in _beginnings([words]):
            self._beginnings.add(_digest(words), grams_of(beginning))

    def _by_ids(self, pair: Pair) -> int:
        return _any(self._ids.get(key, 0) for its in (pair.keys, pair.anchor_keys) for key in _canonical(its))

    def _exactly(self, sides: Sequence[Sequence[str]]) -> int:
        found = _any(self._texts.get(_digest(words), 0) for words in sides if len(words) >= self.exact_words)
        if len(sides) == 2 and min(map(len, sides)) < self.exact_words:
            found |= self._pairs.get(_digest_of_both(*sides), 0)
        return found

    def _nearly(self, among: "_Near", sides: Iterable[Sequence[str]]) -> int:
        return _any(self._texts[text] for words in sides for text in among.find(grams_of(words)))


def canonical(kind: str, value: str) -> str:
    """Return an id as it is compared: without what names its kind, its version, or a part of the whole.

    :param kind: ``pmid``, ``pmcid``, ``doi``, ``nct``, ``medquad`` and ``wikipedia`` (whose page counts), ``hadm_id``,
        ``subject_id``, ``title`` (of a page), or any other.
    :returns: Blank for what is no id, as ``n/a`` for a PMID.
    """
    return _FORMS.get(kind, str.casefold)(value.strip())


def _canonical(keys: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return ids as they are compared, without those that are none."""
    found = ((kind, canonical(kind, value)) for kind, value in keys.items())
    return [key for key in found if key[1]]


class _Near:
    """Near texts, each once by its n-grams, with the digests of the whole texts that they stand for."""

    def __init__(self, threshold: float) -> None:
        self._index = NearTexts(threshold)
        self._numbers: dict[bytes, int] = {}
        self._wholes: list[list[bytes]] = []

    def add(self, whole: bytes, grams: Grams) -> None:
        key = blake2b(grams.tobytes(), digest_size=16).digest()
        if key not in self._numbers:
            self._numbers[key] = self._index.add(grams)
            self._wholes.append([])
        self._wholes[self._numbers[key]].append(whole)

    def find(self, grams: Grams) -> list[bytes]:
        return [whole for number in self._index.find(grams) for whole in self._wholes[number]]


def _beginnings(sides: Iterable[Sequence[str]]) -> list[Sequence[str]]:
    return [words[:BEGINNING] for words in sides if len(words) >= BEGINNING]


def _any(found: Iterable[int]) -> int:
    tasks = 0
    for some in found:
        tasks |= some
    return tasks


def _digest(words: Sequence[str]) -> bytes:
    return blake2b(" ".join(words).encode(), digest_size=16).digest()


def _digest_of_both(first: Sequence[str], second: Sequence[str]) -> bytes:
    return b"".join(sorted((_digest(first), _digest(second))))


def _digits(value: str) -> str:
    found = re.search(r"\d+", value)
    return found[0].lstrip("0") or "0" if found else ""


def _doi(value: str) -> str:
    plain = re.sub(r"^(https?://(dx\.)?doi\.org/|doi:\s*)", "", value.casefold())
    if not plain.startswith("10."):
        return ""
    return re.sub(r"v\d+$", "", plain) if plain.startswith("10.1101/") else plain  # a preprint's version


def _medquad_page(value: str) -> str:
    return re.sub(r"-\d+(#\d+)?$", "", value.casefold())


_FORMS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "pmid": _digits,
        "pmcid": _digits,
        "nct": _digits,
        "hadm_id": _digits,
        "subject_id": _digits,
        "wikipedia": _digits,
        "doi": _doi,
        "medquad": _medquad_page,
        "title": lambda value: " ".join(words_of(value)),
    }
)
