"""The texts that are encoded, all from MedQuAD, with their lengths in the model's tokens."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer

from es_ingest.data import medquad_sample
from es_ingest.readers import read
from es_ingest.records import Record

SETS = ("answers", "questions", "long")
_QUESTIONS_AN_ANSWER = 4  # neither costs more than the answers, with 14 and 512 tokens to their 230
_ANSWERS_A_LONG_TEXT = 4
_SEED = 0


@dataclass(frozen=True)
class TextSet:
    """Texts to encode.

    :param name: What they are.
    :param texts: The texts.
    :param lengths: Their tokens as the model sees them: special tokens included, cut at its maximum.
    """

    name: str
    texts: list[str]
    lengths: list[int]

    @cached_property
    def tokens(self) -> int:
        """All their tokens."""
        return sum(self.lengths)


class Corpus:
    """MedQuAD's answers and questions, and what is made of them.

    :param source: MedQuAD folder or archive; None for the shipped sample.
    """

    def __init__(self, source: Path | None = None) -> None:
        records = [one for one in read([str(source or medquad_sample())], "medquad") if isinstance(one, Record)]
        self.answers = [record.text for record in records]
        self.questions = list(dict.fromkeys(record.meta["question"] for record in records if "question" in record.meta))

    def sets(self, names: Sequence[str], number: int, count: "Counter") -> list[TextSet]:
        """Return the sets of these names: so many answers, and of the others what costs no more."""
        made = {
            "answers": lambda: _some(self.answers, number),
            "questions": lambda: _some(self.questions, number * _QUESTIONS_AN_ANSWER),
            "long": lambda: self.of_length(count, count.max_tokens, max(1, number // _ANSWERS_A_LONG_TEXT)),
        }
        return [count.of(name, made[name]()) for name in names]

    def of_length(self, count: "Counter", tokens: int, number: int) -> list[str]:
        """Return texts of so many tokens, special ones included: answers one behind the other, cut at a word.

        A text may be a few tokens shorter where the cut would go through a word.
        """
        texts: list[str] = []
        parts: list[str] = []
        for answer in self._endless():
            parts.append(answer)
            cut = count.cut(" ".join(parts), tokens)
            if cut is not None:
                texts.append(cut)
                parts = []
            if len(texts) == number:
                break
        return texts

    def queries(self, count: "Counter", tokens: int, number: int) -> list[str]:
        """Return different questions of exactly so many tokens, special ones included."""
        lengths = count.of("", self.questions).lengths
        return _some([text for text, length in zip(self.questions, lengths, strict=True) if length == tokens], number)

    def _endless(self) -> "list[str]":
        found = list(self.answers)
        random.Random(_SEED).shuffle(found)
        return found * 8


class Counter:
    """Counts tokens as a model sees them.

    :param folder: Folder with `tokenizer.json`.
    :param max_tokens: Longest text in tokens, special tokens included.
    """

    def __init__(self, folder: Path, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def of(self, name: str, texts: list[str]) -> TextSet:
        """Return the texts with their lengths."""
        lengths = [min(self.max_tokens, len(one.ids)) for one in self._tokenizer.encode_batch(texts)]
        return TextSet(name, texts, lengths)

    def cut(self, text: str, tokens: int) -> str | None:
        """Return the beginning of a text that has so many tokens; None if it has fewer."""
        found = self._tokenizer.encode(text)
        if len(found.ids) < tokens:
            return None
        if len(found.ids) == tokens:
            return text
        last = tokens - 2  # of the text; the closing special token stands behind it
        while last > 1 and found.word_ids[last] == found.word_ids[last + 1]:
            last -= 1
        return text[: found.offsets[last][1]]


def check_sets(names: Sequence[str]) -> None:
    """Check the names of sets.

    :raises ValueError: If one is not known.
    """
    unknown = next((name for name in names if name not in SETS), None)
    if unknown is not None:
        raise ValueError(f"unknown set {unknown!r}; the sets are {', '.join(SETS)}")


def _some(texts: list[str], number: int) -> list[str]:
    """Return so many random texts, the same every time; all in their order where there are no more."""
    return texts if number >= len(texts) else random.Random(_SEED).sample(texts, number)
