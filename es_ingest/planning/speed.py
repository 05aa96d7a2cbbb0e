"""How fast a model encodes a corpus here, from a sample of its chunks."""

import logging
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice

from medte_haystack.encoder import Encoder, EncodeStats

_CHUNKS = 4096
_CHARACTERS = 1 << 14  # of a chunk: most have far fewer, and a "word" of a million is one token
_SEED = 42
_WARM_UP = 8  # texts
_GROWTH = 4
_PASSES = 6  # that the time shall suffice for


class Sample:
    """Chunks drawn from a whole stream, each as likely as any other (reservoir sampling, Vitter's algorithm R).

    :param most: How many are kept.
    """

    def __init__(self, most: int = _CHUNKS) -> None:
        self.seen = 0
        self._most = most
        self._texts: list[str] = []
        self._random = random.Random(_SEED)  # noqa: S311  a repeatable sample

    def add(self, text: str) -> None:
        """Take the next chunk of the stream."""
        self.seen += 1
        if len(self._texts) < self._most:
            self._texts.append(text[:_CHARACTERS])
        elif (place := int(self._random.random() * self.seen)) < self._most:
            self._texts[place] = text[:_CHARACTERS]

    @property
    def whole(self) -> bool:
        """Whether these are all chunks that there were."""
        return self.seen == len(self._texts)

    def texts(self) -> Sequence[str]:
        """Return the chunks in random order."""
        return self._random.sample(self._texts, len(self._texts))


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast an encoder was, in tokens a second, tokenising included.

    :param tokens_per_second: Over all passes that count.
    :param slowest: Of a pass.
    :param fastest: Of a pass.
    :param passes: How many passes count.
    :param chunks: Chunks encoded in them; a small sample is encoded several times.
    :param seconds: Time of them.
    """

    tokens_per_second: float
    slowest: float
    fastest: float
    passes: int
    chunks: int
    seconds: float


def measure(encoder: Encoder, sample: Sample, seconds: float) -> Speed | None:
    """Encode a sample in passes that grow until one takes a sixth of the time, then in passes of that length.

    The first pass, and those much shorter than the last, warm up and do not count. A corpus of which the sample is all
    is encoded once.

    :param seconds: About how long; at least two passes are done.
    :returns: None for a corpus without chunks.
    """
    texts = sample.texts()
    if not texts:
        return None
    started = time.monotonic()
    endless = cycle(texts)
    passes: list[EncodeStats] = []
    size = min(_WARM_UP, len(texts))
    with _only_errors("medte_haystack.encoder"):  # the plan tells the share that is truncated
        while True:
            before = encoder.stats
            for _ in encoder.encode_stream(islice(endless, size)):
                pass
            done = encoder.stats - before
            if passes and sample.whole and size == len(texts):
                return _speed([done])
            passes.append(done)
            pace = done.seconds / size
            size = max(1, min(size * _GROWTH, int(seconds / _PASSES / pace)))
            size = min(size, len(texts)) if sample.whole else size
            if len(passes) > 1 and time.monotonic() - started + size * pace > seconds:
                return _speed(passes[1:])


def _speed(passes: Sequence[EncodeStats]) -> Speed:
    least = max(one.texts for one in passes) / 2
    counted = [one for one in passes if one.texts >= least]
    rates = [one.tokens / one.seconds for one in counted]
    tokens, seconds = sum(one.tokens for one in counted), sum(one.seconds for one in counted)
    return Speed(tokens / seconds, min(rates), max(rates), len(counted), sum(one.texts for one in counted), seconds)


@contextmanager
def _only_errors(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
