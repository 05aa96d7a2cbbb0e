import numpy as np
import pytest
from elasticsearch import helpers

from es_ingest.planning.sizes import size_of, sizes, vectors_in_source
from medte_haystack.errors import IndexContractError
from medte_haystack.index import QUANTISATIONS, Chunk, Fingerprint, mapping, operation, settings, source

MILLION = 1_000_000
GRAPH = 128 * MILLION  # 32 neighbours of 4 bytes
FLOATS = 3072 * MILLION


@pytest.mark.parametrize(
    ("quantisation", "ram", "disk"),
    [
        ("hnsw", FLOATS + GRAPH, FLOATS + GRAPH),  # 3.20 GB
        ("int8", 772 * MILLION + GRAPH, FLOATS + 772 * MILLION + GRAPH),  # 0.90 GB
        ("int4", 388 * MILLION + GRAPH, FLOATS + 388 * MILLION + GRAPH),  # 0.52 GB
        ("bbq", 110 * MILLION + GRAPH, FLOATS + 110 * MILLION + GRAPH),  # 0.24 GB
        ("flat", FLOATS, FLOATS),
    ],
)
def test_a_million_vectors_of_768_dimensions(quantisation, ram, disk):
    size = size_of(quantisation, MILLION, 768)
    assert (size.ram, size.disk) == (ram, disk)
    assert size_of(quantisation, MILLION, 768, text_bytes=10**9).disk == disk + 10**9


def test_elastics_own_example_with_twice_its_neighbours():
    assert size_of("hnsw", MILLION, 1024).ram == 4_160_000_000 + GRAPH // 2


def test_nothing_takes_nothing():
    assert all(size.ram == size.disk == 0 for size in sizes(0, 768))


def test_every_quantisation_has_a_size_if_it_goes_with_the_dimensions():
    assert [size.quantisation for size in sizes(1, 384)] == list(QUANTISATIONS)
    assert [size.quantisation for size in sizes(1, 33)] == ["hnsw", "int8", "flat"]  # odd, and below 64
    with pytest.raises(IndexContractError, match="int4 needs an even number"):
        size_of("int4", 1, 33)


def test_vectors_as_json():
    assert vectors_in_source(1000, 768) == 6_912_000


def test_a_real_index_is_near_its_prediction(connection, index):
    """2,000 vectors of 384 dimensions in a merged segment; the server names what it keeps off the heap."""
    dim, count = 384, 2000
    vectors = np.random.default_rng(1).standard_normal((count, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    chunks = [Chunk(f"note-{number}", f"Note {number} of a patient with asthma.") for number in range(count)]
    text_bytes = sum(len(operation("index", chunk.id, source(chunk, "")).body) for chunk in chunks)
    body = mapping(dim, quantisation="bbq", fingerprint=Fingerprint("random", dim, "mean").to_dict())
    with connection.client() as client:
        client.indices.create(index=index, mappings=body, settings=settings(replicas=0))
        documents = (
            {
                "_index": index,
                "_id": chunk.id,
                "_source": source(chunk, vector.tolist()),
            }
            for chunk, vector in zip(chunks, vectors, strict=True)
        )
        helpers.bulk(client, documents, refresh=True)
        client.indices.forcemerge(index=index, max_num_segments=1)
        client.indices.flush(index=index)
        found = client.indices.stats(index=index)["indices"][index]["primaries"]
        version = client.nodes.info(filter_path="nodes.*.version")["nodes"]
    predicted = size_of("bbq", count, dim, text_bytes)
    disk = found["store"]["size_in_bytes"]
    if next(iter(version.values()))["version"] < "9.2":
        disk -= vectors_in_source(count, dim)
    assert disk == pytest.approx(predicted.disk, rel=0.15)
    kept = found.get("dense_vector", {}).get("off_heap", {})
    if kept:
        assert kept["total_veb_size_bytes"] == predicted.ram - GRAPH * count // MILLION
