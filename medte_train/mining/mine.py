"""Pairs with hard negatives: their texts encoded, searched and chosen, source by source."""

import hashlib
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from medte_eval.files import write_whole
from medte_haystack.encoder import Encoder
from medte_haystack.encoder.encoder import Kind
from medte_haystack.errors import TrainingConfigError, TrainingDataError, TrainingOutputError
from medte_haystack.training.near import grams_of, words_of
from medte_haystack.training.negatives import NegativeOptions, choose
from medte_haystack.training.pairs import Pair
from medte_train.mining.pool import Pool
from medte_train.mining.search import Search
from medte_train.mining.stored import StoredRows
from medte_train.pair_files import pair_paths, read_pairs, targets_in, write_pairs

if TYPE_CHECKING:
    from medte_eval.systems.system import ShowProgress

logger = logging.getLogger(__name__)

REPORT = "mining.json"
_STATE, _LOCK = ".mining", "lock"
_BLOCK = 256  # rows that are made and stored at a time
_MOST_OWN = 32  # positives of an anchor that the search makes room for
_EVERY = ""  # name of the one pool of all sources

Neighbours = NDArray[np.void]
"""For each pair the nearest texts, with the fields ``id`` and ``score``, shape (pairs, k)."""
_NEIGHBOUR = np.dtype([("id", "<i4"), ("score", "<f4")])


@dataclass(slots=True)
class MinedSource:
    """What was found for the pairs of a source.

    :param pairs: All of them.
    :param texts: Different texts that negatives were taken from.
    :param with_negatives: Pairs that got any.
    :param complete: Pairs that got as many as were asked for.
    :param negatives: Negatives in all, those that pairs brought not counted.
    :param dropped: Candidates that were not taken, by the reason.
    :param positive_scores: Sum of the cosines of pairs.
    :param negative_scores: Sum of the cosines of anchors and negatives.
    """

    pairs: int = 0
    texts: int = 0
    with_negatives: int = 0
    complete: int = 0
    negatives: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    positive_scores: float = 0.0
    negative_scores: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values, with means of the cosines."""
        return {
            "pairs": self.pairs,
            "texts": self.texts,
            "with_negatives": self.with_negatives,
            "complete": self.complete,
            "negatives": self.negatives,
            "dropped": dict(sorted(self.dropped.items())),
            "mean_positive_cosine": round(self.positive_scores / max(1, self.pairs), 4),
            "mean_negative_cosine": round(self.negative_scores / max(1, self.negatives), 4),
        }


@dataclass(frozen=True, slots=True)
class _Found:
    """A pool with what was found for its pairs.

    :param positives: Cosine of each pair's own texts, shape (pairs,).
    """

    pool: Pool
    neighbours: Neighbours
    positives: NDArray[np.float32]


class Miner:
    """Adds hard negatives to pairs.

    :param encoder: The model whose mistakes they are.
    :param search: How near texts are looked for.
    :param options: Which of them are taken.
    :param show: Shows how far encoding is.
    :param across: Take negatives from all sources; else from the pair's own, as batches are of one source.
    :param fresh: Drop the negatives that pairs have already; else new ones come behind them.
    """

    def __init__(
        self,
        encoder: Encoder,
        search: Search,
        options: NegativeOptions,
        show: "ShowProgress",
        *,
        across: bool = False,
        fresh: bool = False,
    ) -> None:
        self._encoder = encoder
        self._search = search
        self._options = options
        self._across = across
        self._fresh = fresh
        self._show = show

    def mine(self, sources: Iterable[str], out: Path, *, keep_vectors: bool = False) -> dict[str, Any]:
        """Write files of pairs anew with negatives.

        Vectors and neighbours are kept in `out` until all is done, so the same call goes on where one was ended.

        :param sources: Files of pairs, as `read_pairs` takes them.
        :param out: Folder that gets a file for each, of its name, and `REPORT`.
        :param keep_vectors: Leave vectors and neighbours for a later call with other options.
        :returns: The report: settings, and what was found for each source.
        :raises ReadError: If a source is missing or a row is no pair.
        :raises TrainingDataError: If there is no pair, or no text that could be a negative.
        :raises TrainingConfigError: If another process mines into the folder.
        :raises TrainingOutputError: If a file cannot be written.
        """
        paths = pair_paths(sources)
        targets = targets_in(paths, out)
        try:
            (out / _STATE).mkdir(parents=True, exist_ok=True)
            with FileLock(out / _STATE / _LOCK).acquire(timeout=0):
                report = self._mine(paths, targets, out)
                write_whole(out / REPORT, [json.dumps(report, indent=2, ensure_ascii=False), "\n"])
            if not keep_vectors:
                shutil.rmtree(out / _STATE, ignore_errors=True)
        except Timeout:
            raise TrainingConfigError(
                f"another process mines into {out}; wait for it, or name another folder with --out"
            ) from None
        except OSError as error:
            raise TrainingOutputError(f"{out} cannot be written: {error.strerror or error}", path=str(out)) from error
        return report

    def _mine(self, paths: Sequence[str], targets: Mapping[str, Path], out: Path) -> dict[str, Any]:
        pools = self._scan(paths, out / _STATE)
        settings = self._describe()
        used: set[Path] = {out / _STATE / _LOCK}
        found = {name: self._find(pool, name, paths, out / _STATE, used) for name, pool in pools.items()}
        counts: dict[str, MinedSource] = {}
        rows: Counter[str] = Counter()
        for path, target in targets.items():
            mined = (self._with_negatives(pair, found, rows, counts) for pair in read_pairs([path]))
            write_pairs(target, mined, paths if self._across else [path])
            logger.info("%s: written", target)
        for old in (out / _STATE).iterdir():
            if old not in used:  # of other pairs, or another model
                old.unlink()
        return {"settings": settings, "sources": {name: counts[name].to_dict() for name in sorted(counts)}}

    def _describe(self) -> dict[str, Any]:
        encoder = self._encoder
        return {
            "model": encoder.spec.name,
            "weights_sha256": encoder.weights_sha256,
            "max_tokens": encoder.max_tokens,
            "dim": encoder.dim,
            "precision": encoder.precision,
            **self._search.describe(),
            **asdict(self._options),
            "across": self._across,
            "fresh": self._fresh,
        }

    def _scan(self, paths: Sequence[str], folder: Path) -> dict[str, Pool]:
        """Read all pairs once."""
        pools: dict[str, Pool] = {}
        for pair in read_pairs(paths):
            name = self._pool_of(pair)
            if name not in pools:
                pools[name] = Pool(folder)
            pools[name].add(pair)
        if not pools:
            raise TrainingDataError("there is no pair to mine for; make some with: medte-train pairs")
        for name, pool in pools.items():
            pool.close()
            if len(pool) < 2:
                raise TrainingDataError(
                    f"source {name or 'all'!r} has a single text 2, so there is none that could be a negative; add"
                    " pairs, or take --across"
                )
        return pools

    def _find(self, pool: Pool, name: str, paths: Sequence[str], folder: Path, used: set[Path]) -> _Found:
        """Encode a pool's texts and the anchors of its pairs, and search; what is in the folder is not done again."""
        encoder = self._encoder
        made_by = [encoder.weights_sha256, encoder.max_tokens, encoder.dim, encoder.precision, pool.sha256]
        k = min(self._options.range_max + min(pool.most_positives, _MOST_OWN), len(pool))
        stem = _name(made_by)
        files = [folder / f"{kind}-{stem}" for kind in ("texts", "anchors")]
        files.append(folder / f"neighbours-{_name([stem, k, self._search.describe()])}")
        used.update(files)
        pairs = len(pool.of_pair)

        def anchors(first: int) -> Iterator[str]:
            return (pair.anchor for pair in islice(self._pairs(paths, name), first, None))

        texts = self._encoded(files[0], len(pool), pool.texts, "passage")
        asked = self._encoded(files[1], pairs, anchors, "query")
        neighbours = StoredRows(files[2], (k,), _NEIGHBOUR)
        with ExitStack() as stack:
            near = neighbours.fill(pairs, partial(self._neighbours, stack, texts, asked, k))
        own = np.asarray(pool.of_pair)
        blocks = (slice(start, start + _BLOCK) for start in range(0, pairs, _BLOCK))
        cosines = [np.einsum("ij,ij->i", asked[block], texts[own[block]]) for block in blocks]
        return _Found(pool, near, np.concatenate(cosines))

    def _encoded(self, path: Path, rows: int, texts: Any, kind: Kind) -> NDArray[np.float32]:
        """Return vectors of texts, shape (rows, dim).

        :param texts: Gives them from a number on.
        """
        encoder, before = self._encoder, self._encoder.stats

        def make(first: int) -> Iterator[NDArray[np.float32]]:
            stream = encoder.encode_stream(texts(first), kind)
            with self._show(lambda: range(rows)) as progress:
                done = first
                while block := list(islice(stream, _BLOCK)):
                    done += len(block)
                    progress.update(records=done, chunks=done, tokens=(encoder.stats - before).tokens)
                    yield np.stack(block)

        return StoredRows(path, (encoder.dim,), np.float32).fill(rows, make)

    def _neighbours(
        self, stack: ExitStack, texts: NDArray[np.float32], asked: NDArray[np.float32], k: int, first: int
    ) -> Iterator[Neighbours]:
        find = stack.enter_context(self._search.over(texts))
        for start in range(first, len(asked), _BLOCK):
            ids, scores = find(np.asarray(asked[start : start + _BLOCK]), k)
            block = np.empty(ids.shape, dtype=_NEIGHBOUR)
            block["id"], block["score"] = ids, scores
            yield block

    def _with_negatives(
        self, pair: Pair, found: Mapping[str, _Found], rows: Counter[str], counts: dict[str, MinedSource]
    ) -> Pair:
        its = found[self._pool_of(pair)]
        row = rows[self._pool_of(pair)]
        rows[self._pool_of(pair)] += 1
        count = counts.setdefault(pair.source, MinedSource(texts=len(its.pool)))
        brought = () if self._fresh else pair.negatives
        chosen = choose(
            ((int(one), float(score)) for one, score in its.neighbours[row] if one >= 0),
            its.pool.positives(pair),
            float(its.positives[row]),
            its.pool.known(pair),
            self._options,
            pair=f"{pair.source} {pair.id}",
            grams=its.pool.grams,
            dropped=count.dropped,
            taken=[grams_of(words_of(text)) for text in brought],
        )
        count.pairs += 1
        count.with_negatives += bool(chosen)
        count.complete += len(chosen) == self._options.num_negatives
        count.negatives += len(chosen)
        count.positive_scores += float(its.positives[row])
        count.negative_scores += sum(score for _, score in chosen)
        return replace(pair, negatives=(*brought, *(its.pool.text(one) for one, _ in chosen)))

    def _pool_of(self, pair: Pair) -> str:
        return _EVERY if self._across else pair.source

    def _pairs(self, paths: Sequence[str], pool: str) -> Iterator[Pair]:
        return (pair for pair in read_pairs(paths) if self._pool_of(pair) == pool)


def _name(parts: list[Any]) -> str:
    """Return a name for what follows from the parts alone."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
