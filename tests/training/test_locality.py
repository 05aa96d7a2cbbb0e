"""Locality batches against section 4.2 of MedTE's recipe, written down plainly."""

import zlib

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans

from medte_haystack.encoder import Encoder
from medte_haystack.training.locality import Localities, embed_positives
from medte_haystack.training.sampling import StepBatches
from medte_haystack.training.table import PairTable

from .small import pairs_of

SEED, SIZE, SMALLEST, PER_CLUSTER = 3, 16, 4, 100


@pytest.fixture
def table(tmp_path):
    return PairTable([*pairs_of("large", 450), *pairs_of("small", 150), *pairs_of("one batch", 12)], tmp_path)


@pytest.fixture
def vectors(table):
    """Five heaps of points on a sphere."""
    draw = np.random.default_rng(0)
    points = draw.normal(size=(5, 8))[draw.integers(5, size=len(table))] + 0.3 * draw.normal(size=(len(table), 8))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def reference(source, vectors, epoch):
    """What the recipe says of one source in one epoch: batches as sets of rows."""
    counter = -1
    for _ in range(epoch + 1):
        counter += 2
    rows, n = source.rows, len(source.rows)
    if n <= SIZE:
        return [set(rows.tolist())]
    k = min(counter, max(1, n // PER_CLUSTER))
    draw = np.random.default_rng([SEED, zlib.crc32(source.name.encode()), epoch])
    labels = np.zeros(n, int)
    if k > 1:
        means = MiniBatchKMeans(k, batch_size=8192, n_init=1, max_iter=20, random_state=int(draw.integers(2**31)))
        labels = means.fit_predict(vectors[rows])
    shuffling = np.random.default_rng([SEED, zlib.crc32(source.name.encode()), epoch])
    batches = []
    for label in range(k):
        of_cluster = shuffling.permutation(rows[labels == label])
        cuts = [of_cluster[start : start + SIZE] for start in range(0, len(of_cluster), SIZE)]
        batches += [set(one.tolist()) for one in cuts if len(one) >= SMALLEST]
    return batches


def test_batches_are_those_of_the_recipe(table, vectors):
    regions = Localities(vectors, PER_CLUSTER, 10_000, SEED)
    batches = StepBatches(table.sources, table, SIZE, SMALLEST, SEED, regions=regions)
    for source in table.sources:
        for epoch in range(4):
            found = [set(batch) for batch in batches._epoch(source, epoch)]
            expected = reference(source, vectors, epoch)
            assert sorted(map(sorted, found)) == sorted(map(sorted, expected))


def test_regions_shrink_to_their_size(table, vectors):
    regions = Localities(vectors, PER_CLUSTER, 10_000, SEED)
    large, small, _ = table.sources
    assert [len(regions(large, epoch)) for epoch in range(4)] == [1, 3, 4, 4]
    assert [len(regions(small, epoch)) for epoch in range(3)] == [1, 1, 1]
    early = Localities(vectors, PER_CLUSTER, 10_000, SEED, first=2)
    assert [len(early(large, epoch)) for epoch in range(3)] == [2, 4, 4]
    for epoch in range(3):
        assert sorted(np.concatenate(regions(large, epoch)).tolist()) == large.rows.tolist()


def test_batches_of_later_epochs_are_alike(table, vectors):
    def likeness(options):
        batches = StepBatches(table.sources[:1], table, SIZE, SMALLEST, SEED, steps=100, **options)
        rest = list(batches)[60:]
        return np.mean([np.mean(vectors[batch] @ vectors[batch].T) for batch in rest])

    assert likeness({"regions": Localities(vectors, PER_CLUSTER, 10_000, SEED)}) > likeness({}) + 0.2


def test_clusters_can_be_fitted_on_a_sample(table, vectors):
    regions = Localities(vectors, PER_CLUSTER, 60, SEED)
    found = regions(table.sources[0], 2)
    assert sum(map(len, found)) == 450
    assert [part.tolist() for part in regions(table.sources[0], 2)] == [part.tolist() for part in found]


def test_embeddings_are_made_once(table, tiny, tmp_path):
    encoder = Encoder.load(tiny, device="cpu", precision="fp32")
    first = embed_positives(table, encoder, tmp_path / "cache")
    np.testing.assert_allclose(first, encoder.encode(list(table.positives(range(len(table))))), atol=1e-6)
    done = encoder.stats.texts
    assert np.array_equal(embed_positives(table, encoder, tmp_path / "cache"), first)
    assert encoder.stats.texts == done
    assert len(list((tmp_path / "cache").iterdir())) == 1
