"""Tuning on the real server."""

import numpy as np
import pytest
from elasticsearch import BadRequestError

from es_ingest.indices.vectors import stored_vectors
from es_ingest.tuning import copies, exact, measure, tune
from es_ingest.tuning.sample import draw
from es_ingest.tuning.tune import TuneOptions
from medte_haystack.errors import IndexContractError
from medte_haystack.index import detect_server, run

from .conftest import DIM, random_vectors, temporary

COUNT = 3000
SMALL = TuneOptions(max_queries=40, num_candidates=[20, 100], oversampling=[0, 3])


@pytest.fixture(autouse=True)
def few_requests(monkeypatch):
    monkeypatch.setattr(measure, "LEAST_REQUESTS", 40)


def by_setting(tuning):
    return {
        (one.setting.quantisation, one.setting.rescored, one.setting.num_candidates): one for one in tuning.settings
    }


def test_the_grid_against_exact_search(client, fill):
    info = fill(random_vectors(COUNT), quantisation="flat", shards=2)
    tuning = tune.tune(client, info, SMALL)
    found = by_setting(tuning)
    assert set(found) == {
        ("flat", None, 100),
        *(
            (kind, rescore, candidates)
            for kind in ("int8", "int4", "bbq")
            for rescore, candidates in ((0, 20), (0, 100), (3, 100))
        ),
    }
    assert found["flat", None, 100].recall == 1.0
    assert found["flat", None, 100].recall_error == 0.0
    for kind in ("int4", "bbq"):
        assert found[kind, 0, 100].recall < 0.97 < found[kind, 3, 100].recall + 0.1
        assert found[kind, 0, 100].recall < found[kind, 3, 100].recall
    assert all(0 < one.p50_ms <= one.p99_ms for one in tuning.settings)
    assert tuning.today is found["flat", None, 100]
    assert tuning.recommended in tuning.reaching
    assert tuning.recommended.recall >= 0.99
    of = tuning.conditions
    assert (of.in_index, of.vectors, of.queries, of.queries_from, of.requests) == (COUNT, COUNT - 40, 40, "index", 40)
    assert (of.dim, of.shards, of.quantisation, of.top_k) == (DIM, 2, "flat", 10)
    assert set(of.segments) == {"flat", "int8", "int4", "bbq"}
    assert client.count(index=info.name)["count"] == COUNT
    assert not temporary(client, info.name)


def test_queries_of_ones_own_and_a_recall_that_nothing_reaches(client, fill):
    info = fill(random_vectors(COUNT), quantisation="bbq")
    queries = random_vectors(30, seed=5)
    options = TuneOptions(recall=1.0, quantisations=["bbq"], oversampling=[0], num_candidates=[20], max_queries=7)
    tuning = tune.tune(client, info, options, queries)
    assert tuning.recommended is None
    assert tuning.conditions.queries_from == "file"
    assert (tuning.conditions.queries, tuning.conditions.vectors) == (30, COUNT)
    assert set(by_setting(tuning)) == {("bbq", 3.0, 100), ("bbq", 0, 20)}
    assert tuning.today.setting.oversampling == 3.0, "what the server does for bbq unasked"
    assert tuning.nearest is tuning.today


def test_exact_search_over_what_is_read_back_equals_brute_force(client, fill):
    written, queries = random_vectors(COUNT), random_vectors(30, seed=5)
    info = fill(written)
    sample = draw(client, info, most_vectors=COUNT, queries=queries, most_queries=1, top_k=10, tell=lambda *_: None)
    names = [hit["_id"] for hit, _ in stored_vectors(client, info.name)]
    rows, _ = exact.nearest(sample.queries, sample.vectors, 10)
    wanted = np.argsort(-(queries @ written.T), axis=1)[:, :10]
    assert [[names[row] for row in query] for query in rows] == [[f"d{row}#0" for row in query] for query in wanted]


def test_vectors_come_back_bit_for_bit(client, fill):
    written = random_vectors(1500)
    info = fill(written, shards=2)
    found = {hit["_id"]: vector for hit, vector in stored_vectors(client, info.name)}
    assert len(found) == 1500
    assert all(np.array_equal(found[f"d{row}#0"], vector) for row, vector in enumerate(written))


def test_queries_are_not_among_what_is_searched_and_a_sample_is_random(client, fill):
    written = random_vectors(COUNT)
    info = fill(written)
    place = {vector.tobytes(): row for row, vector in enumerate(written)}

    def drawn(most):
        sample = draw(client, info, most_vectors=most, queries=None, most_queries=50, top_k=10, tell=lambda *_: None)
        assert sample.in_index == COUNT
        return [place[one.tobytes()] for one in sample.queries], [place[one.tobytes()] for one in sample.vectors]

    queries, searched = drawn(COUNT)
    assert len(queries) == 50
    assert sorted(queries + searched) == list(range(COUNT))
    again, some = drawn(1000)
    assert again == queries
    assert not set(some) & set(queries)
    assert 900 < len(set(some)) == len(some) <= 1000
    assert 1300 < np.mean(some) < 1700


def test_the_copy_of_its_own_kind_has_its_own_graph(client, index, fill, monkeypatch):
    field = {"type": "dense_vector", "dims": DIM, "index": True, "similarity": "dot_product"}
    options = {"type": "int8_hnsw", "m": 8, "ef_construction": 50}
    body = {"properties": {"embedding": {**field, "index_options": options}}}
    info = fill(random_vectors(500), body=body)
    seen = {}

    def look(client, settings, made, *rest, **more):
        for kind, copy in made.items():
            (found,) = client.indices.get(index=copy.index).values()
            seen[kind] = found["mappings"]["properties"]["embedding"]["index_options"]
        assert list(client.indices.get(index=f"{index}*")) == [index], "a search of INDEX* does not meet them"
        return measure.measure(client, settings, made, *rest, **more)

    monkeypatch.setattr(tune, "measure", look)
    tune.tune(client, info, SMALL)
    assert seen["int8"] == options
    assert seen["int4"].items() >= {"type": "int4_hnsw", "m": 32, "ef_construction": 200}.items()


def test_copies_may_be_merged(client, fill):
    info = fill(random_vectors(COUNT))
    merged = tune.tune(client, info, TuneOptions(max_queries=5, quantisations=["int8"], force_merge=True))
    assert merged.conditions.segments == {"int8": 1}
    assert merged.conditions.force_merged


def test_vectors_of_any_length_are_compared_by_their_angle(client, fill):
    field = {"type": "dense_vector", "dims": DIM, "index": True, "similarity": "cosine"}
    vectors = random_vectors(500) * np.random.default_rng(3).uniform(0.1, 9, size=(500, 1)).astype(np.float32)
    info = fill(vectors, body={"properties": {"embedding": {**field, "index_options": {"type": "flat"}}}})
    (only,) = tune.tune(client, info, TuneOptions(max_queries=40, quantisations=["flat"])).settings
    assert only.recall == 1.0


def test_kinds_that_do_not_go_with_the_dimensions_are_left_out_unless_asked_for(client, fill):
    info = fill(random_vectors(300, dim=33))
    tuning = tune.tune(client, info, TuneOptions(max_queries=5, num_candidates=[20], oversampling=[0]))
    assert set(tuning.conditions.segments) == {"int8"}
    with pytest.raises(IndexContractError, match="bbq needs at least 64 dimensions"):
        tune.tune(client, info, TuneOptions(quantisations=["bbq"]))


@pytest.mark.parametrize(
    ("count", "options", "said"),
    [
        (0, TuneOptions(), "holds no vectors"),
        (1, TuneOptions(), r"top_k is 10, but 0 vectors are searched \(.* has 1, 1 serve as queries"),
        (10, TuneOptions(), "top_k is 10, but 9 vectors are searched"),
        (50, TuneOptions(vectors=9), "at most 9 are read"),
        (50, TuneOptions(num_candidates=[5]), "num_candidates 5 is below top_k 10"),
        (50, TuneOptions(num_candidates=[20], oversampling=[3]), "below top_k 10 times the oversampling"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_its_numbers(client, fill, count, options, said):
    info = fill(random_vectors(count or 1)[:count])
    with pytest.raises(IndexContractError, match=said):
        tune.tune(client, info, options)


def test_the_whole_index_may_be_the_answer(client, fill):
    info = fill(random_vectors(11))
    tuning = tune.tune(client, info, TuneOptions(quantisations=["flat", "int8"]))
    assert {one.recall for one in tuning.settings} == {1.0}


def test_another_similarity_is_refused(client, fill):
    field = {"type": "dense_vector", "dims": DIM, "index": True, "similarity": "l2_norm"}
    info = fill(random_vectors(20), body={"properties": {"embedding": field}})
    with pytest.raises(IndexContractError, match="l2_norm; tune knows dot_product and cosine"):
        tune.tune(client, info, TuneOptions())


def test_no_copy_stays_after_an_error(client, fill, monkeypatch):
    info = fill(random_vectors(300))
    there = []

    def fail(client, *rest, **more):
        there.append(temporary(client, info.name))
        raise RuntimeError("boom")

    monkeypatch.setattr(tune, "measure", fail)
    with pytest.raises(RuntimeError, match="boom"):
        tune.tune(client, info, SMALL)
    assert len(there[0]) == 3
    assert not temporary(client, info.name)


def test_no_copy_stays_where_the_server_refuses_the_next(client, fill, monkeypatch):
    info = fill(random_vectors(300))
    monkeypatch.setattr(tune, "vector_field", lambda *_: {"type": "dense_vector", "dims": -1})
    with pytest.raises(BadRequestError, match="-1"):
        tune.tune(client, info, SMALL)
    assert not temporary(client, info.name)


def test_refused_vectors_end_it(client, fill):
    info = fill(random_vectors(300))
    server, field = run(client, detect_server()), client.indices.get_mapping(index=info.name)[info.name]
    long = random_vectors(20) * 2  # dot_product takes unit vectors alone
    with (
        pytest.raises(IndexContractError, match="refused 20 vectors as int8"),
        copies.copies(
            client,
            info.name,
            {"int8": field["mappings"]["properties"]["embedding"]},
            long,
            server,
            shards=1,
            force_merge=False,
            tell=lambda *_: None,
        ),
    ):
        raise AssertionError("never reached")


def test_a_copy_that_an_earlier_run_left_is_named(client, fill, caplog):
    info = fill(random_vectors(300))
    left = f"{info.name}-tune-int8-0123456789ab"
    client.indices.create(index=left, settings={"hidden": True})
    try:
        tune.tune(client, info, TuneOptions(max_queries=5, quantisations=["flat"]))
        assert f"index {left} is there already" in caplog.text
        assert temporary(client, info.name) == {left}
    finally:
        client.indices.delete(index=left)
