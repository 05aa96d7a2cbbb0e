"""What is searched and what is asked: passages of real texts, questions, and distractors made of the passages."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from es_ingest.data import medquad_sample
from es_ingest.readers import read
from es_ingest.records import Record
from medte_haystack.encoder import Encoder, Kind, TokenSplitter
from medte_haystack.encoder.backends.cache import cache_folder
from medte_haystack.index import Chunk

_SEED = 0
_CHUNKS_A_DISTRACTOR = 2  # about as many as an answer has
_NOISE = 0.5  # length of what is added to a distractor's unit vector, in a random direction
_BLOCK = 4096  # distractors made at once

DISTRACTORS = (
    "a distractor's text has every second sentence of two random passages; its vector is the sum of theirs, moved by"
    f" {_NOISE} in a random direction"
)

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Passages:
    """Texts cut to passages, as es-ingest cuts them.

    :param chunks: The passages.
    :param vectors: Their unit vectors, shape (chunks, dim).
    """

    chunks: Sequence[Chunk]
    vectors: Vectors

    @classmethod
    def of(cls, records: Sequence[Record], encoder: Encoder) -> Self:
        """Split records, and encode what was not encoded before."""
        pieces = TokenSplitter(encoder.tokeniser).split_many(
            [one.text for one in records], titles=[one.title for one in records]
        )
        chunks = [
            Chunk(record.id, piece.text, number, piece.start, piece.end, record.title)
            for record, own in zip(records, pieces, strict=True)
            for number, piece in enumerate(own)
        ]
        return cls(chunks, encoded(encoder, [one.embedded_text for one in chunks], "passage"))

    def __iter__(self) -> Iterator[tuple[Chunk, Vectors]]:
        """Yield each passage with its vector."""
        return zip(self.chunks, self.vectors, strict=True)

    def turned(self, turn: Vectors) -> Self:
        """Return them with their vectors times a matrix."""
        return type(self)(self.chunks, self.vectors @ turn)

    @cached_property
    def key(self) -> str:
        """What tells these passages from others."""
        return hashlib.sha256(self.vectors.tobytes()).hexdigest()[:8]


@dataclass(frozen=True)
class Corpus:
    """Passages among distractors, and questions.

    :param passages: The passages and, behind them, the distractors.
    :param questions: Different questions, in random order.
    :param asked: Their unit vectors, shape (questions, dim).
    :param model_dim: Dimensions that the model's vectors have.
    """

    passages: Passages
    questions: Sequence[str]
    asked: Vectors
    model_dim: int


def medquad(source: Path | None, encoder: Encoder, *, questions: int, distractors: int, dim: int) -> Corpus:
    """Read MedQuAD and add distractors.

    :param source: Folder, file or archive; None for the shipped sample.
    :param questions: Most questions that are kept.
    :param dim: Dimensions. More than the model has are filled by turning its vectors at random: cosines stay the same.
    :raises ReadError: If the source cannot be read.
    :raises ValueError: If the model has more dimensions.
    """
    turn = _turn(encoder.dim, dim)
    records = [one for one in read([str(source or medquad_sample())], "medquad") if isinstance(one, Record)]
    asked = list(dict.fromkeys(str(one.meta["question"]) for one in records if one.meta.get("question")))
    order = np.random.default_rng(_SEED).permutation(len(asked))[:questions]
    asked = [asked[number] for number in order]
    passages = Passages.of(records, encoder).turned(turn)
    return Corpus(with_distractors(passages, distractors), asked, encoded(encoder, asked, "query") @ turn, encoder.dim)


def with_distractors(passages: Passages, number: int) -> Passages:
    """Return passages and, behind them, so many distractors, the same every time; see `DISTRACTORS`."""
    chance, (real, dim) = np.random.default_rng(_SEED), passages.vectors.shape
    chunks, vectors = list(passages.chunks), np.empty((real + number, dim), np.float32)
    vectors[:real] = passages.vectors
    for start in range(0, number, _BLOCK):
        some = min(_BLOCK, number - start)
        pairs = chance.integers(0, real, (some, 2))
        noise = _unit(chance.standard_normal((some, dim), dtype=np.float32))
        mixed = _unit(passages.vectors[pairs].sum(axis=1))
        vectors[real + start : real + start + some] = _unit(mixed + _NOISE * noise)
        chunks += [_distractor(at, [chunks[one] for one in pair]) for at, pair in enumerate(pairs, start)]
    return Passages(chunks, vectors)


def encoded(encoder: Encoder, texts: Sequence[str], kind: Kind) -> Vectors:
    """Return the texts' vectors, from the cache folder if the same model made them in the same precision before."""
    made_of = hashlib.sha256("\0".join([encoder.weights_sha256, encoder.precision, kind, *texts]).encode())
    path = cache_folder() / "bench" / f"{made_of.hexdigest()[:32]}.npy"
    if path.is_file():
        found: Vectors = np.load(path)
        return found
    print(f"encoding {len(texts):,} texts, once", file=sys.stderr)
    vectors = encoder.encode(texts, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npy")
    np.save(part, vectors)
    part.replace(path)
    return vectors


def _distractor(number: int, of: Sequence[Chunk]) -> Chunk:
    text = ". ".join(sentence for one in of for sentence in one.content.split(". ")[::2])
    document, index = divmod(number, _CHUNKS_A_DISTRACTOR)
    return Chunk(f"distractor-{document}", text, index, 0, len(text), of[0].title)


def _turn(own: int, dim: int) -> Vectors:
    """Return a matrix that turns vectors of `own` dimensions into such of `dim` and changes no cosine."""
    if own > dim:
        raise ValueError(f"the model's vectors have {own} dimensions; they cannot be turned into {dim}")
    if own == dim:
        return np.eye(own, dtype=np.float32)
    drawn = np.random.default_rng(_SEED).standard_normal((dim, own))
    turn: Vectors = np.linalg.qr(drawn)[0].T.astype(np.float32)  # orthonormal rows
    return turn


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
