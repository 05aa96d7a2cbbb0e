"""What made an index, and who may read and write it; no server."""

import json
import pickle
from dataclasses import replace
from types import SimpleNamespace

import pytest

from medte_haystack.encoder.models import MODELS
from medte_haystack.errors import FingerprintMismatchError
from medte_haystack.index import CONTRACT_VERSION, Fingerprint, mapping

WHOLE = Fingerprint(
    model="thenlper/gte-base",
    revision="c078288",
    weights_sha256="a" * 64,
    dim=768,
    pooling="mean",
    query_prefix="query: ",
    passage_prefix="passage: ",
    max_tokens=512,
    precision="bf16",
    chunk_tokens=200,
    chunk_overlap=20,
    embedded_fields=("title", "content"),
    analyzer="english",
)


def test_it_comes_back_from_a_mapping_as_it_was():
    body = mapping(768, fingerprint=WHOLE.to_dict())
    assert Fingerprint.from_mapping(json.loads(json.dumps(body))) == WHOLE


@pytest.mark.parametrize(
    "body",
    [{}, {"_meta": {}}, {"_meta": {"medte": None}}, {"_meta": {"medte": "x"}}, {"_meta": {"medte": {"model": "m"}}}],
)
def test_a_mapping_of_something_else_has_none(body):
    assert Fingerprint.from_mapping(body) is None


def test_of_a_spec_and_of_an_encoder():
    spec = MODELS["e5-base-v2"]
    row = Fingerprint.of_spec(spec)
    assert row == Fingerprint(
        model="intfloat/e5-base-v2",
        revision=spec.revision,
        dim=768,
        pooling="mean",
        query_prefix="query: ",
        passage_prefix="passage: ",
    )
    encoder = SimpleNamespace(spec=spec, dim=256, weights_sha256="b" * 64, max_tokens=128, precision="fp32")
    assert Fingerprint.of_encoder(encoder, chunk_tokens=100, chunk_overlap=10) == replace(
        row,
        dim=256,
        weights_sha256="b" * 64,
        max_tokens=128,
        precision="fp32",
        chunk_tokens=100,
        chunk_overlap=10,
        embedded_fields=("title", "content"),
    )


def test_a_local_folder_goes_by_its_name():
    assert Fingerprint.of_spec(replace(MODELS["medte"], name="mine", hub_id="")).model == "mine"


@pytest.mark.parametrize(
    "reader",
    [
        WHOLE,
        replace(WHOLE, precision="fp32", analyzer="standard", revision="other"),
        replace(WHOLE, max_tokens=256, chunk_tokens=None, chunk_overlap=0, embedded_fields=None),
        replace(WHOLE, model="renamed-copy"),  # the same weights
        replace(WHOLE, weights_sha256=None),  # known by its name alone
    ],
)
def test_readers_of_the_same_space(reader):
    WHOLE.check_reader(reader, index="articles")


SPACE = [
    ("model", replace(WHOLE, model="other", weights_sha256=None), "thenlper/gte-base", "other"),
    ("model", replace(WHOLE, weights_sha256="b" * 64), "weights aaaaaaaaaaaa…", "weights bbbbbbbbbbbb…"),
    ("dim", replace(WHOLE, dim=384), "768", "384"),
    ("pooling", replace(WHOLE, pooling="cls"), "'mean'", "'cls'"),
    ("query_prefix", replace(WHOLE, query_prefix=""), "'query: '", "''"),
    ("passage_prefix", replace(WHOLE, passage_prefix="p"), "'passage: '", "'p'"),
    ("normalised", replace(WHOLE, normalised=False), "True", "False"),
]
CHUNKS = [
    ("max_tokens", replace(WHOLE, max_tokens=256), "512", "256"),
    ("chunk_tokens", replace(WHOLE, chunk_tokens=100), "200", "100"),
    ("chunk_overlap", replace(WHOLE, chunk_overlap=0), "20", "0"),
    ("embedded_fields", replace(WHOLE, embedded_fields=("content",)), "'title'", "('content',)"),
]


@pytest.mark.parametrize(("field", "other", "mine", "theirs"), SPACE)
def test_other_readers_are_refused_with_both_values(field, other, mine, theirs):
    with pytest.raises(FingerprintMismatchError, match=field) as caught:
        WHOLE.check_reader(other, index="articles")
    message = str(caught.value)
    assert "'articles'" in message
    assert mine in message
    assert theirs in message
    assert (caught.value.index, caught.value.field) == ("articles", field)


@pytest.mark.parametrize(("field", "other", "mine", "theirs"), SPACE + CHUNKS)
def test_other_writers_are_refused_with_both_values(field, other, mine, theirs):
    with pytest.raises(FingerprintMismatchError, match="add to it with") as caught:
        WHOLE.check_writer(other, index="articles")
    assert mine in str(caught.value)
    assert theirs in str(caught.value)
    assert caught.value.field == field


@pytest.mark.parametrize(("field", "other", "mine", "theirs"), CHUNKS)
def test_chunking_is_no_matter_to_a_reader(field, other, mine, theirs):
    WHOLE.check_reader(other, index="articles")


def test_what_a_writer_does_not_know_is_not_compared():
    row = replace(MODELS["gte-base"], query_prefix="query: ", passage_prefix="passage: ")
    WHOLE.check_writer(Fingerprint.of_spec(row), index="a")


def test_of_vectors_made_elsewhere_only_what_is_known_is_compared():
    made = Fingerprint(model="thenlper/gte-base", dim=768, pooling=None, query_prefix=None, passage_prefix=None)
    again = Fingerprint.from_mapping(json.loads(json.dumps(mapping(768, fingerprint=made.to_dict()))))
    assert again == made
    again.check_reader(WHOLE, index="a")
    again.check_writer(WHOLE, index="a")
    WHOLE.check_writer(made, index="a")
    with pytest.raises(FingerprintMismatchError, match="made with dim 768, not 384"):
        again.check_reader(replace(WHOLE, dim=384), index="a")


def test_the_error_survives_pickling():
    with pytest.raises(FingerprintMismatchError) as caught:
        WHOLE.check_reader(replace(WHOLE, dim=384), index="articles")
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is FingerprintMismatchError
    assert str(again) == str(caught.value)
    assert (again.index, again.field, again.expected, again.found) == ("articles", "dim", 768, 384)


class TestNewerContract:
    def test_an_unknown_field_of_the_same_contract_is_tolerated(self):
        body = {"_meta": {"medte": {**WHOLE.to_dict(), "language": "en"}}}
        assert Fingerprint.from_mapping(body) == WHOLE

    @pytest.mark.parametrize("check", ["check_reader", "check_writer"])
    def test_a_newer_contract_is_refused_and_says_what_to_do(self, check):
        newer = {**WHOLE.to_dict(), "contract": CONTRACT_VERSION + 1, "language": "en"}
        found = Fingerprint.from_mapping({"_meta": {"medte": newer}})
        with pytest.raises(FingerprintMismatchError, match="use a version of this package for contract 2") as caught:
            getattr(found, check)(WHOLE, index="articles")
        assert (caught.value.expected, caught.value.found) == (CONTRACT_VERSION + 1, CONTRACT_VERSION)
