"""Mapping and settings, asserted whole; no server."""

import pytest

from medte_haystack.errors import IndexContractError
from medte_haystack.index import index_options, mapping, settings
from medte_haystack.index.mapping import fields_of, quantisation_of

TEMPLATES = [
    {"strings": {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": 8191}}},
    {"longs": {"match_mapping_type": "long", "mapping": {"type": "long", "ignore_malformed": True}}},
    {"doubles": {"match_mapping_type": "double", "mapping": {"type": "double", "ignore_malformed": True}}},
    {"dates": {"match_mapping_type": "date", "mapping": {"type": "date", "ignore_malformed": True}}},
]
GRAPH = {"m": 32, "ef_construction": 200}
OPTIONS = {
    "hnsw": {"type": "hnsw", **GRAPH},
    "int8": {"type": "int8_hnsw", **GRAPH},
    "int4": {"type": "int4_hnsw", **GRAPH},
    "bbq": {"type": "bbq_hnsw", **GRAPH},
    "flat": {"type": "flat"},
}


@pytest.mark.parametrize("quantisation", OPTIONS)
def test_the_contracts_mapping(quantisation):
    text = {"type": "text", "analyzer": "english"}
    made = mapping(768, quantisation=quantisation, analyzer="english", fingerprint={"model": "m"})
    assert made == {
        "properties": {
            "content": text,
            "embedding": {
                "type": "dense_vector",
                "dims": 768,
                "index": True,
                "similarity": "dot_product",
                "index_options": OPTIONS[quantisation],
            },
            "id": {"type": "keyword"},
            "title": {"type": "keyword", "ignore_above": 8191, "fields": {"text": text}},
            "parent_id": {"type": "keyword"},
            "chunk_index": {"type": "integer"},
            "chunk_start": {"type": "integer"},
            "chunk_end": {"type": "integer"},
        },
        "dynamic_templates": TEMPLATES,
        "_meta": {"medte": {"model": "m"}},
    }
    assert quantisation_of(made) == quantisation


def test_the_mapping_for_any_embedder():
    assert mapping(None, similarity="cosine") == {
        "properties": {
            "content": {"type": "text", "analyzer": "standard"},
            "embedding": {
                "type": "dense_vector",
                "index": True,
                "similarity": "cosine",
                "index_options": OPTIONS["int8"],
            },
        },
        "dynamic_templates": TEMPLATES,
    }


def test_an_unknown_quantisation():
    with pytest.raises(IndexContractError, match="'int2' is unknown; there are hnsw, int8, int4, bbq, flat") as caught:
        index_options("int2", 768)
    assert caught.value.quantisation == "int2"


@pytest.mark.parametrize(("quantisation", "dim"), [("int4", 385), ("bbq", 63)])
def test_dimensions_that_do_not_go_with_it(quantisation, dim):
    with pytest.raises(IndexContractError, match=f"{quantisation} needs .* not {dim}; take int8"):
        index_options(quantisation, dim)


@pytest.mark.parametrize(("quantisation", "dim"), [("int4", 384), ("bbq", 64), ("bbq", None), ("int4", None)])
def test_dimensions_that_do(quantisation, dim):
    assert index_options(quantisation, dim) == OPTIONS[quantisation]


def test_quantisation_of_foreign_mappings():
    assert quantisation_of({}) == ""
    options = {"index_options": {"type": "bbq_disk"}}
    assert quantisation_of({"properties": {"embedding": options}}) == "bbq_disk"


def test_settings_leave_the_rest_to_the_server():
    assert settings() == {"number_of_shards": 1}
    assert settings(shards=3, replicas=0, refresh_interval="-1") == {
        "number_of_shards": 3,
        "number_of_replicas": 0,
        "refresh_interval": "-1",
    }


def test_fields_have_their_full_names():
    found = fields_of(
        {
            "properties": {
                "title": {"type": "keyword", "fields": {"text": {"type": "text"}}},
                "patient": {"properties": {"age": {"type": "long"}}},
            },
            "runtime": {"year": {"type": "long"}},
        }
    )
    assert found == {
        "title": "keyword",
        "title.text": "text",
        "patient": "object",
        "patient.age": "long",
        "year": "long",
    }
