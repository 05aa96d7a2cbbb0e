"""Regions of a source whose texts 2 are alike, which grow smaller from epoch to epoch (section 4.2 of MedTE's recipe).

In a source's epoch e, counted from 0, there are k = min(2 e + 1, max(1, n // rows a cluster)) clusters, found by
mini-batch k-means on the embeddings of its n texts 2. So the first epoch is as without regions, and later ones draw
each batch from one of them; a run of few epochs may begin with more than one. What the recipe leaves open: each epoch's
clusters come from the run's seed, and are fitted on a sample where a source is large.
"""

import logging
import os
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import distributed

from medte_haystack.encoder import Encoder
from medte_haystack.training.sampling import Rows
from medte_haystack.training.table import PairTable, SourceRows

logger = logging.getLogger(__name__)

_BATCH = 8192  # rows a step of k-means, as the recipe has it
_ROUNDS = 20


class Localities:
    """The regions of each source in each of its epochs; see `sampling.Regions`.

    :param vectors: Embeddings of texts 2 by row number, float32, shape (rows, dim).
    :param rows_per_cluster: What clusters shrink to.
    :param first: Clusters in epoch 0.
    :param sample: Most rows that clusters are fitted on.
    :param seed: Of samples and clusters.
    """

    def __init__(
        self, vectors: NDArray[np.float32], rows_per_cluster: int, sample: int, seed: int, first: int = 1
    ) -> None:
        self._vectors = vectors
        self._rows_per_cluster, self._first = rows_per_cluster, first
        self._sample = sample
        self._seed = seed

    def __call__(self, source: SourceRows, epoch: int) -> Sequence[Rows]:
        """Return the clusters that have rows."""
        count = min(2 * epoch + self._first, max(1, len(source.rows) // self._rows_per_cluster))
        if count == 1:
            return [source.rows]
        labels = _of_the_first(self._labels(source, count, epoch))
        logger.info("%s, epoch %d: batches from %d regions", source.name, epoch + 1, count)
        return [source.rows[labels == label] for label in range(count) if (labels == label).any()]

    def _labels(self, source: SourceRows, count: int, epoch: int) -> NDArray[np.int64]:
        from sklearn.cluster import MiniBatchKMeans  # type: ignore[import-untyped]

        draw = np.random.default_rng([self._seed, zlib.crc32(source.name.encode()), epoch])
        rows = source.rows
        fitted = np.sort(draw.choice(rows, self._sample, replace=False)) if len(rows) > self._sample else rows
        means = MiniBatchKMeans(
            count, batch_size=_BATCH, max_iter=_ROUNDS, n_init=1, random_state=int(draw.integers(2**31))
        ).fit(self._vectors[fitted])
        parts = np.array_split(rows, max(1, len(rows) // _BATCH))
        return np.concatenate([means.predict(self._vectors[part]) for part in parts]).astype(np.int64)


def _of_the_first(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first process's labels: another's may differ where sums are rounded in another order."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return labels
    box = [labels]
    distributed.broadcast_object_list(box)
    return box[0]


def embed_positives(table: PairTable, encoder: Encoder, folder: Path) -> NDArray[np.float32]:
    """Return the embeddings of all texts 2, kept in a file that another run on these pairs finds again.

    :param folder: Where the file is.
    :returns: Unit vectors by row number, float32, shape (rows, dim), memory-mapped.
    :raises OSError: If the file cannot be written.
    """
    made_by = f"{encoder.weights_sha256[:16]}-{encoder.max_tokens}-{encoder.precision}"
    path = folder / f"positives-{table.fingerprint[:16]}-{made_by}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        logger.info("locality: embedding %s texts 2 with %s", f"{len(table):,}", encoder.spec.name)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=path.stem, suffix=".part")
        os.close(descriptor)
        part = Path(name)
        try:
            vectors = np.lib.format.open_memmap(part, "w+", np.float32, (len(table), encoder.dim))
            for row, vector in enumerate(encoder.encode_stream(table.positives(range(len(table))))):
                vectors[row] = vector
            vectors.flush()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    found: NDArray[np.float32] = np.load(path, mmap_mode="r")
    return found
