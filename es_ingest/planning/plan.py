"""A plan: what a run over a corpus would read, make, need and take."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from es_ingest.planning.histogram import bins
from es_ingest.planning.lengths import Lengths
from es_ingest.planning.sizes import Size, vectors_in_source
from es_ingest.planning.speed import Speed
from es_ingest.planning.survey import Survey
from medte_haystack.encoder import ModelSpec, TokenSplitter


@dataclass(frozen=True, slots=True)
class Times:
    """A time in seconds: the expected one, and the bounds that the sample gives."""

    expected: float
    least: float
    most: float

    def to_dict(self) -> dict[str, float]:
        """Return it with sensible digits."""
        return {name: round(seconds, 3) for name, seconds in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    :param spec: The model.
    :param splitter: How texts are split for it.
    :param survey: What there is.
    :param sizes: What one copy of an index takes, by quantisation.
    :param copies: Copies of the index: one and its replicas.
    :param device: What encodes, None if it is not to be timed.
    :param precision: What it computes in.
    :param speed: How fast it encodes, None if that was not timed.
    """

    spec: ModelSpec
    splitter: TokenSplitter
    survey: Survey
    sizes: Sequence[Size]
    copies: int
    device: str | None = None
    precision: str | None = None
    speed: Speed | None = None

    @property
    def limit(self) -> int:
        """Longest text the model takes, in tokens, special tokens included."""
        return self.splitter.tokeniser.max_tokens

    @property
    def chunks(self) -> int:
        """Chunks, and so vectors."""
        return self.survey.of_chunks.number

    @property
    def tokens(self) -> int:
        """Tokens that the encoder computes."""
        return self.survey.of_chunks.total(self.limit)

    @property
    def source_bytes(self) -> int:
        """Bytes that servers before 9.2 take beside for a copy; see :func:`vectors_in_source`."""
        return vectors_in_source(self.chunks, self.spec.dim)

    @property
    def encode_seconds(self) -> Times | None:
        """Time to encode everything: by the sample's speed, by that of its fastest part, and of its slowest."""
        if self.speed is None:
            return None
        speeds = (self.speed.tokens_per_second, self.speed.fastest, self.speed.slowest)
        return Times(*(self.tokens / speed for speed in speeds))

    @property
    def run_seconds(self) -> Times | None:
        """Time of a run whose server keeps up: it reads and encodes at once, on a CPU with the same cores."""
        times, reading = self.encode_seconds, self.survey.seconds
        if times is None:
            return None
        together = (
            (lambda seconds: seconds + reading) if self.device == "cpu" else (lambda seconds: max(seconds, reading))
        )
        return Times(*map(together, (times.expected, times.least, times.most)))

    def to_dict(self) -> dict[str, Any]:
        """Return it as the one JSON object that `--json` prints: sizes in bytes, times in seconds."""
        found = self.survey
        speed, encoding, running = self.speed, self.encode_seconds, self.run_seconds
        return {
            "model": self.spec.hub_id or self.spec.name,
            "dim": self.spec.dim,
            "max_tokens": self.limit,
            "chunk_tokens": self.splitter.chunk_tokens,
            "chunk_overlap": self.splitter.overlap,
            "complete": found.complete,
            "records": found.records,
            "malformed": found.malformed,
            "first_malformed": [{"position": position, "reason": reason} for position, reason in found.first_malformed],
            "refused": found.refused,
            "deletions": found.deletions,
            "repeated": found.repeats.count,
            "repeated_is_exact": found.repeats.exact,
            "chunks": self.chunks,
            "tokens": self.tokens,
            "text_bytes": found.text_bytes,
            "longer_than_model": found.of_records.over(self.limit),
            "truncated": found.of_chunks.over(self.limit),
            "tokens_of_a_record": self._lengths(found.of_records),
            "tokens_of_a_chunk": self._lengths(found.of_chunks),
            "copies": self.copies,
            "sizes": [asdict(size) for size in self.sizes],
            "vectors_in_source_bytes": self.source_bytes,
            "device": self.device,
            "precision": self.precision,
            "speed": speed and {name: round(value, 3) for name, value in asdict(speed).items()},
            "read_seconds": round(found.seconds, 3),
            "encode_seconds": encoding and encoding.to_dict(),
            "run_seconds": running and running.to_dict(),
        }

    def _lengths(self, lengths: Lengths) -> dict[str, Any]:
        return {**lengths.to_dict(), "histogram": [asdict(one) for one in bins(lengths, self.limit)]}
