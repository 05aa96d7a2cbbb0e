"""The shape of a stored document; no server."""

import base64
import struct

import numpy as np
import orjson
import pytest

from medte_haystack.errors import IndexContractError
from medte_haystack.index import Chunk, check_vector, chunk_id, cosine_from_score, source, vector_json
from medte_haystack.index.contract import check_id


class TestIds:
    def test_of_a_chunk(self):
        assert chunk_id("pmc-17", 3) == Chunk("pmc-17", "text", index=3).id == "pmc-17#3"

    def test_a_long_parent_is_hashed_by_bytes_not_characters(self):
        assert chunk_id("x" * 510, 0) == "x" * 510 + "#0"
        for parent in ("x" * 511, "é" * 256):
            hashed = chunk_id(parent, 12)
            assert hashed.startswith("sha256:")
            assert hashed.endswith("#12")
            assert len(hashed) == 7 + 64 + 3
        assert chunk_id("x" * 511, 0) != chunk_id("x" * 512, 0)

    def test_a_parent_with_a_lone_surrogate_has_an_id_of_its_own(self):
        assert chunk_id("\ud800" * 300, 0) != chunk_id("\ud801" * 300, 0)

    def test_an_empty_parent(self):
        with pytest.raises(IndexContractError, match="without an id"):
            chunk_id("", 0)

    @pytest.mark.parametrize("good", ["a", "x" * 512, "é" * 256])
    def test_what_elasticsearch_takes(self, good):
        check_id(good)

    @pytest.mark.parametrize(
        ("bad", "why"), [("", "0 bytes"), ("x" * 513, "513 bytes"), ("é" * 257, "514 bytes"), ("\ud800", "surrogate")]
    )
    def test_what_it_does_not(self, bad, why):
        with pytest.raises(IndexContractError, match=why) as caught:
            check_id(bad)
        assert caught.value.id == bad
        str(caught.value).encode()


class TestSource:
    def test_the_whole_body(self):
        chunk = Chunk("p", "Grows.", 1, 10, 16, "Acromegaly", {"year": 2020, "source": "NIH", "url": None})
        assert source(chunk, "AAAA") == {
            "year": 2020,
            "source": "NIH",
            "title": "Acromegaly",
            "id": "p#1",
            "content": "Grows.",
            "parent_id": "p",
            "chunk_index": 1,
            "chunk_start": 10,
            "chunk_end": 16,
            "embedding": "AAAA",
        }

    def test_reserved_names_in_metadata_are_renamed(self):
        taken = ["id", "content", "embedding", "title", "parent_id", "chunk_index", "chunk_start", "chunk_end"]
        taken += ["meta", "blob", "score", "sparse_embedding", "retrieval"]
        body = source(Chunk("p", "text", meta=dict.fromkeys(taken, "mine")), [1.0])
        assert {name: body[f"{name}_"] for name in taken} == dict.fromkeys(taken, "mine")
        assert (body["id"], body["content"], body["embedding"]) == ("p#0", "text", [1.0])
        assert "title" not in body

    def test_what_is_embedded(self):
        assert Chunk("p", "Grows.", title="Acromegaly").embedded_text == "Acromegaly Grows."
        assert Chunk("p", "Grows.").embedded_text == "Grows."


class TestVectors:
    def test_base64_is_big_endian_float32(self):
        vector = np.array([1.0, -2.5, 3e-8], dtype=np.float32)
        text = orjson.loads(orjson.dumps(vector_json(vector, base64_vectors=True)))
        assert base64.b64decode(text) == struct.pack(">3f", 1.0, -2.5, 3e-8)
        np.testing.assert_array_equal(np.frombuffer(base64.b64decode(text), dtype=">f4"), vector)

    def test_numbers_where_the_server_takes_no_base64(self):
        found = vector_json(np.array([0.5, 0.25])[::-1], base64_vectors=False)
        assert (found.dtype, found.flags.c_contiguous, found.tolist()) == (np.float32, True, [0.25, 0.5])

    def test_unit_vectors_pass(self):
        check_vector(np.array([0.6, 0.8], dtype=np.float32), 2, name="x")

    @pytest.mark.parametrize(
        ("values", "why"),
        [
            ([0.6, 0.8, 0.0], "document 'd' has 3 dimensions, the index has 2"),
            ([[0.6, 0.8]], "has 1 x 2 dimensions"),
            ([3.0, 4.0], "has length 5;"),
            ([0.0, 0.0], "has length 0;"),
            ([float("nan"), 1.0], "has length nan;"),
            ([float("inf"), 1.0], "has length inf;"),
        ],
    )
    def test_others_do_not(self, values, why):
        with pytest.raises(IndexContractError, match=why):
            check_vector(np.array(values), 2, name="document 'd'")

    def test_cosine_from_score(self):
        assert [cosine_from_score(score) for score in (0.0, 0.5, 1.0)] == [-1.0, 0.0, 1.0]
