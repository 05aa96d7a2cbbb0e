"""What a run did."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

_NO_SUMS = {"interrupted", "requests_at_once"}


@dataclass(slots=True)
class Summary:
    """What a run did. Every record that was read is unchanged, written, dead or, after an interruption, left over.

    :param index: Name of the index.
    :param read: Source rows seen: records and malformed ones.
    :param unchanged: Records that the ledger has with the same content; neither encoded nor written.
    :param records: Records of which the server has acknowledged all chunks.
    :param repeated: Records whose id came before in the same run; the last one counts.
    :param chunks: Chunks made of the records that were not unchanged.
    :param written: Chunks the server acknowledged; `created` of them were new, `updated` replaced one of the same id.
    :param removed: Chunks removed: of records that have fewer now, that the sources no longer have, or delete.
    :param missing: Records removed because the sources no longer have them.
    :param deleted: Records removed because the sources say that they are no more.
    :param failed: Dead letters: malformed rows and refused records.
    :param malformed: Source rows that are no records.
    :param gaps: How many of the malformed may stand for several rows: a source that broke off or changed meanwhile, a
        file or folder within one that cannot be read.
    :param refused: Records that the server, or the contract, refused.
    :param dead_letters: File that holds them, if there are any.
    :param retried: How many times a rejected chunk was sent again.
    :param tokens: Tokens encoded.
    :param truncated: Chunks that lost their end because they did not fit the model.
    :param seconds: Time of the whole run.
    :param encode_seconds: Time of it spent encoding.
    :param encoder_waited: Time for which the encoder had nothing to do, because reading or writing was behind.
    :param requests_at_once: The most bulk requests that were under way at a time.
    :param interrupted: Whether the run ended before the sources did.
    :param fingerprint: What made the vectors, as the index records it.
    """

    index: str
    read: int = 0
    unchanged: int = 0
    records: int = 0
    repeated: int = 0
    chunks: int = 0
    written: int = 0
    created: int = 0
    updated: int = 0
    removed: int = 0
    missing: int = 0
    deleted: int = 0
    failed: int = 0
    malformed: int = 0
    refused: int = 0
    gaps: int = 0
    dead_letters: str | None = None
    retried: int = 0
    tokens: int = 0
    truncated: int = 0
    seconds: float = 0.0
    encode_seconds: float = 0.0
    encoder_waited: float = 0.0
    requests_at_once: int = 0
    interrupted: bool = False
    quantisation: str = ""
    fingerprint: dict[str, Any] = field(default_factory=dict)

    def __add__(self, other: "Summary") -> "Summary":
        """Return what two runs into one index did together."""
        mine, others = asdict(self), asdict(other)
        numbers = {name for name, value in mine.items() if isinstance(value, (int, float)) and name not in _NO_SUMS}
        sums = {name: mine[name] + others[name] for name in numbers}
        return replace(
            other,
            **sums,
            requests_at_once=max(self.requests_at_once, other.requests_at_once),
            dead_letters=self.dead_letters or other.dead_letters,
        )

    @property
    def encoder_busy(self) -> float | None:
        """Share of the time in which the encoder was not kept waiting; None if nothing was encoded."""
        return self.encode_seconds / (self.encode_seconds + self.encoder_waited) if self.encode_seconds else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as the one JSON object that `--json` prints."""
        told = asdict(self) | {"encoder_busy": self.encoder_busy}
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in told.items()}
