"""Making and finding indices, on the real server."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from elasticsearch import AsyncElasticsearch

from medte_haystack.errors import FingerprintMismatchError, IndexContractError, IndexMissingError
from medte_haystack.index import (
    QUANTISATIONS,
    Chunk,
    Fingerprint,
    IndexInfo,
    IndexSpec,
    Server,
    bulk,
    create_index,
    describe_index,
    detect_server,
    knn_body,
    open_index,
    operation,
    run,
    run_async,
    source,
    vector_json,
)

MODEL = Fingerprint(model="some/model", dim=64, pooling="mean", weights_sha256="a" * 64, max_tokens=256)
SPEC = IndexSpec(MODEL, replicas=0)


@pytest.fixture(scope="module")
def client(connection):
    with connection.client() as client:
        yield client


@pytest.fixture(scope="module")
def server(client):
    return run(client, detect_server())


def has_english(client) -> bool:
    return "analyzer [english]" not in str(
        client.options(ignore_status=400).indices.analyze(analyzer="english", text="fevers")
    )


class TestDetect:
    def test_the_version(self, client, server):
        found = next(iter(client.nodes.info(filter_path="nodes.*.version")["nodes"].values()))["version"]
        assert server.version == tuple(int(part) for part in found.split("-")[0].split("."))

    async def test_the_same_by_the_async_client(self, connection, server):
        async with AsyncElasticsearch(connection.url) as client:
            assert await run_async(client, detect_server()) == server

    @pytest.mark.parametrize(
        ("version", "base64_vectors", "excludes_vectors", "base64_doc_values"),
        [
            (None, False, False, False),
            ((8, 19, 21), False, False, False),
            ((9, 1, 9), False, False, False),
            ((9, 2, 0), False, True, False),
            ((9, 3, 0), True, True, False),
            ((9, 4, 0), True, True, True),
            ((10, 0, 0), True, True, True),
        ],
    )
    def test_what_a_version_can(self, version, base64_vectors, excludes_vectors, base64_doc_values):
        server = Server(version)
        assert (server.base64_vectors, server.excludes_vectors) == (base64_vectors, excludes_vectors)
        assert server.base64_doc_values == base64_doc_values


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
def test_every_quantisation_is_accepted_and_finds(client, server, index, quantisation):
    info = run(client, open_index(index, replace(SPEC, quantisation=quantisation), server))
    oversampling = 3.0 if quantisation == "bbq" else None  # as the server has it
    assert info == IndexInfo(index, 64, "dot_product", quantisation, info.fingerprint, oversampling=oversampling)
    vectors = np.random.default_rng(1).normal(size=(200, 64))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    writes = [
        operation("index", chunk.id, source(chunk, vector_json(vector, base64_vectors=server.base64_vectors)))
        for number, vector in enumerate(vectors)
        for chunk in [Chunk(f"p{number}", "text")]
    ]
    assert run(client, bulk.write(index, writes)) == bulk.BulkResult(created=200)
    client.indices.refresh(index=index)
    answer = client.search(index=index, body=knn_body(vectors[17], top_k=10, num_candidates=200))
    assert answer["hits"]["hits"][0]["_id"] == "p17#0"
    assert len(answer["hits"]["hits"]) == 10


def test_fields_meta_and_settings_beside_the_contract(client, server, index):
    spec = replace(
        SPEC,
        fields={"year": {"type": "long"}, "content": {"type": "keyword"}},
        meta={"more": {"a": 1}, "medte": {}},
        more_settings={"index.mapping.total_fields.limit": "77"},
    )
    info = run(client, open_index(index, spec, server))
    found = client.indices.get(index=index, flat_settings=True)[index]
    assert found["settings"]["index.mapping.total_fields.limit"] == "77"
    assert found["mappings"]["properties"]["year"] == {"type": "long"}
    assert found["mappings"]["properties"]["content"]["type"] == "text", "the contract's own fields stay as they are"
    assert found["mappings"]["_meta"]["more"] == {"a": 1}
    assert info.fingerprint.model == MODEL.model


class TestAnalyzer:
    def test_auto_takes_what_the_server_has_and_records_it(self, client, server, index):
        info = run(client, open_index(index, SPEC, server))
        expected = "english" if has_english(client) else "standard"
        assert info.fingerprint == replace(MODEL, analyzer=expected)
        properties = client.indices.get_mapping(index=index)[index]["mappings"]["properties"]
        assert properties["content"].get("analyzer", "standard") == expected

    def test_one_of_ones_own(self, client, server, index):
        info = run(client, open_index(index, replace(SPEC, analyzer="whitespace"), server))
        assert info.fingerprint.analyzer == "whitespace"

    def test_one_that_is_not_there_is_no_silent_fallback(self, client, server, index):
        with pytest.raises(IndexContractError, match=r"analyzer \[klingon\]"):
            run(client, open_index(index, replace(SPEC, analyzer="klingon"), server))
        assert not client.indices.exists(index=index)


class TestExisting:
    def test_is_opened_again(self, client, server, index):
        assert run(client, open_index(index, SPEC, server)) == run(client, open_index(index, SPEC, server))

    def test_of_another_model_is_refused_with_both_names(self, client, server, index):
        run(client, open_index(index, SPEC, server))
        other = replace(SPEC, fingerprint=replace(MODEL, model="other/model", weights_sha256=None))
        with pytest.raises(FingerprintMismatchError, match="'some/model', not 'other/model'"):
            run(client, open_index(index, other, server))

    def test_of_other_dimensions_is_refused_though_it_says_no_model(self, client, server, index):
        vectors = {"type": "dense_vector", "dims": 32, "index": True}
        client.indices.create(index=index, mappings={"properties": {"embedding": vectors}})
        with pytest.raises(IndexContractError, match="vectors of 32 dimensions, model some/model makes 64") as caught:
            run(client, open_index(index, SPEC, server))
        assert (caught.value.expected, caught.value.found) == (32, 64)

    def test_of_a_newer_contract_is_refused(self, client, server, index):
        meta = {"medte": {**MODEL.to_dict(), "contract": 2, "something": "new"}}
        client.indices.create(index=index, mappings={"_meta": meta})
        with pytest.raises(FingerprintMismatchError, match="contract 2, not 1; use a version of this"):
            run(client, open_index(index, SPEC, server))

    def test_of_something_else_is_described(self, client, index):
        client.indices.create(index=index)
        assert run(client, describe_index(index)) == IndexInfo(index, None, None, "", None)

    @pytest.mark.parametrize("excludes", [True, False])
    def test_whether_hits_come_without_vectors(self, client, server, index, excludes):
        if not server.excludes_vectors:
            pytest.skip("this server always gives vectors")
        client.indices.create(index=index, settings={"index.mapping.exclude_source_vectors": excludes})
        assert run(client, describe_index(index)).keeps_vectors_out is excludes

    def test_that_a_new_index_keeps_vectors_out_where_servers_do(self, client, server, index):
        info = run(client, open_index(index, SPEC, server))
        assert info.keeps_vectors_out is server.excludes_vectors
        assert info.oversampling is None

    def test_how_much_it_compares_again(self, client, server, index):
        run(client, open_index(index, replace(SPEC, quantisation="bbq"), server))
        assert run(client, describe_index(index)).oversampling == 3.0

    def test_missing(self, client, index):
        with pytest.raises(IndexMissingError, match="is not there; make it with") as caught:
            run(client, describe_index(index))
        assert caught.value.index == index

    @pytest.mark.parametrize("name", ["", " ", "_all", "*", "a,b", "star*"])
    def test_a_pattern_names_no_index(self, client, name):
        with pytest.raises(IndexContractError, match="is not the name of one index") as caught:
            run(client, describe_index(name))
        assert caught.value.index == name


class TestAlias:
    def test_is_followed(self, client, server, index):
        run(client, open_index(index, SPEC, server))
        client.indices.put_alias(index=index, name=f"{index}-alias")
        assert run(client, open_index(f"{index}-alias", SPEC, server)).name == index

    def test_over_two_indices_is_refused(self, client, server, index):
        second = f"{index}-2"
        run(client, open_index(index, SPEC, server))
        run(client, open_index(second, SPEC, server))
        try:
            client.indices.put_alias(index=f"{index},{second}", name=f"{index}-alias")
            with pytest.raises(IndexContractError, match=rf"stands for 2 indices \({index}, {second}\); name one"):
                run(client, describe_index(f"{index}-alias"))
        finally:
            client.indices.delete(index=second)


def test_made_by_many_at_once_it_is_made_once(connection, server, index):
    def open_it(_):
        with connection.client() as client:
            return run(client, open_index(index, SPEC, server))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(open_it, range(8)))
    assert {info.name for info in found} == {index}
    assert len({info.fingerprint for info in found}) == 1


def test_a_second_making_says_so(client, server, index):
    assert run(client, create_index(index, SPEC, server)) is True
    assert run(client, create_index(index, SPEC, server)) is False


@pytest.mark.parametrize("name", ["Upper", "_under", "with blank", "x" * 256])
def test_a_name_that_the_server_does_not_take(client, server, name):
    with pytest.raises(IndexContractError, match=r"cannot be (made|an index): .*[Ii]ndex name"):
        run(client, open_index(name, SPEC, server))


def test_quantisation_that_does_not_go_with_the_dimensions_is_refused_before_the_server(client, server, index):
    spec = IndexSpec(replace(MODEL, dim=32), quantisation="bbq")
    with pytest.raises(IndexContractError, match="bbq needs at least 64 dimensions, not 32"):
        run(client, open_index(index, spec, server))
    assert not client.indices.exists(index=index)


def test_shards_and_replicas(client, server, index):
    run(client, open_index(index, IndexSpec(MODEL, shards=2, replicas=0), server))
    found = client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    assert (found["index.number_of_shards"], found["index.number_of_replicas"]) == ("2", "0")


def test_a_mapping_of_ones_own_is_sent_as_it_is(client, server, index):
    body = {"properties": {"content": {"type": "text", "analyzer": "simple"}}}
    run(client, open_index(index, IndexSpec(body=body), server))
    assert client.indices.get_mapping(index=index)[index]["mappings"] == body


class TestMetadata:
    """How values are mapped that the mapping does not name."""

    @pytest.fixture
    def write(self, client, server, index):
        run(client, open_index(index, SPEC, server))

        def write(**meta):
            chunk = Chunk(f"p{len(str(meta))}", "text", meta=meta)
            body = source(chunk, vector_json(np.eye(64)[0], base64_vectors=server.base64_vectors))
            return run(client, bulk.write(index, [operation("index", chunk.id, body)]))

        return write

    def test_a_value_that_does_not_fit_a_number_or_date_is_kept_though_not_indexed(self, client, index, write):
        assert write(year=2020, when="2020-01-01").written == 1
        assert write(year="unknown", when="last spring").written == 1
        client.indices.refresh(index=index)
        found = client.search(index=index, query={"match_all": {}})["hits"]["hits"]
        assert {hit["_source"]["year"] for hit in found} == {2020, "unknown"}

    def test_a_long_string_is_kept_though_not_indexed(self, write):
        assert write(abstract="x" * 40_000).written == 1

    def test_a_value_that_cannot_be_mapped_is_a_failure_without_the_value(self, write):
        assert write(author="Jane Roe").written == 1
        (failure,) = write(author={"name": "Jane Roe, patient"}).failures
        assert failure.status == 400
        assert "author" in failure.reason
        assert "Jane" not in failure.reason
