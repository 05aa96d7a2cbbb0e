"""What the encoder promises whatever the model: order, shape, length, laziness, counting."""

import logging
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from medte_haystack.encoder import Encoder, EncodeStats
from medte_haystack.errors import EncoderOptionError, ModelError

LOGGER = "medte_haystack.encoder.encoder"


def cosines(left, right):
    return (left * right).sum(axis=-1)


def test_vectors_are_float32_of_unit_length(vectors, texts):
    assert vectors.shape == (len(texts), 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_no_texts_give_an_empty_matrix(encoder):
    vectors = encoder.encode([])
    assert vectors.shape == (0, 384)
    assert vectors.dtype == np.float32


def test_order_is_kept_and_company_does_not_matter(encoder, texts, vectors):
    alone = np.concatenate([encoder.encode([text]) for text in texts[::3]])
    assert cosines(alone, vectors[::3]).min() >= 0.99999
    shuffled = random.Random(3).sample(range(len(texts)), len(texts) // 2)
    in_threes = encoder.encode([texts[position] for position in shuffled], max_texts=3)
    assert cosines(in_threes, vectors[shuffled]).min() >= 0.99999


def test_empty_and_blank_texts_are_equal_and_valid(encoder):
    vectors = encoder.encode(["", " ", "\n\t", "\x00"])
    assert cosines(vectors, vectors[:1]).min() >= 0.99999


def test_a_lone_surrogate_counts_as_the_replacement_character(encoder):
    odd, replaced, other = encoder.encode(["fever \ud83d chills", "fever \ufffd chills", "fever chills"])
    np.testing.assert_array_equal(odd, replaced)
    assert odd.shape == other.shape


def test_a_text_of_100_000_characters_is_cut(encoder):
    long = "chronic obstructive pulmonary disease " * 2632
    assert len(long) > 100_000
    cut, again = encoder.encode([long, long[:4000]])
    assert cosines(cut, again) >= 0.99999


class TestOne:
    @pytest.mark.parametrize("kind", ["query", "passage", None])
    def test_equals_encode(self, encoder, texts, kind):
        for text in texts[::7]:
            found = encoder.encode_one(text, kind)
            assert (found.shape, found.dtype) == ((384,), np.float32)
            assert cosines(found, encoder.encode([text], kind)[0]) >= 0.99999

    def test_takes_the_prefix_of_a_query(self, prefixed):
        assert prefixed.encode_one("fever")[0] == 2 + 1 + 2  # query, :, fever between the special tokens
        assert prefixed.encode_one("fever", "passage")[0] == 2 + 1

    def test_is_counted_and_cut(self, encoder):
        before = encoder.stats
        encoder.encode_one("word " * 400)
        done = encoder.stats - before
        assert (done.texts, done.tokens, done.truncated) == (1, 256, 1)

    def test_being_cut_is_warned_of_once(self, encoder, caplog):
        fresh = Encoder(encoder.files, encoder.tokeniser, encoder.backend)
        with caplog.at_level(logging.DEBUG, LOGGER):
            for _ in range(3):
                fresh.encode_one("word " * 400)
        assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "DEBUG"]
        assert "a text was longer than 256 tokens and lost its end" in caplog.text
        assert fresh.stats.truncated == 3

    def test_something_else_than_a_string(self, encoder):
        with pytest.raises(TypeError, match="text 0 is of type NoneType"):
            encoder.encode_one(None)

    def test_truncate_dim(self, encoder):
        short = Encoder(encoder.files, encoder.tokeniser, encoder.backend, truncate_dim=64)
        found = short.encode_one("fever")
        assert found.shape == (64,)
        np.testing.assert_allclose(np.linalg.norm(found), 1.0, atol=1e-6)


class TestTruncation:
    LONG = "Secret diagnosis: acromegaly. " * 100

    def test_is_counted_and_warned_of_once_a_call_without_text(self, encoder, caplog):
        before = encoder.stats
        with caplog.at_level(logging.WARNING, LOGGER):
            encoder.encode([self.LONG, "short", self.LONG])
        assert [record.getMessage() for record in caplog.records] == [
            "2 of 3 texts were longer than 256 tokens and lost their end"
        ]
        assert (encoder.stats - before).truncated == 2

    def test_is_warned_of_once_over_several_windows(self, fake_encoder, caplog):
        with caplog.at_level(logging.WARNING, LOGGER):
            fake_encoder.encode(["word " * 90] * 50)
        (record,) = caplog.records
        assert "50 of 50 texts" in record.getMessage()

    def test_is_warned_of_when_the_reader_stops_early(self, encoder, caplog):
        stream = encoder.encode_stream([self.LONG, "short"])
        next(stream)
        with caplog.at_level(logging.WARNING, LOGGER):
            stream.close()
        assert "1 of 2 texts" in caplog.text

    def test_positions_are_told_over_several_windows_in_place_of_the_warning(self, fake_encoder, caplog):
        positions = []
        texts = ["word " * (90 if number % 7 == 0 else 1) for number in range(500)]
        list(fake_encoder.encode_stream(texts, on_truncated=positions.append))
        assert positions == list(range(0, 500, 7))
        assert not caplog.records

    def test_nothing_is_said_when_all_fit(self, encoder, caplog):
        with caplog.at_level(logging.DEBUG, LOGGER):
            encoder.encode(["short", "word " * 254])
        assert not caplog.records

    def test_keeps_the_first_tokens_and_the_closing_one(self, encoder):
        tokens = encoder.tokeniser(["word " * 400])
        (ids,) = tokens.ids
        assert (len(ids), tokens.truncated) == (256, [0])
        assert (ids[0], ids[-1]) == (101, 102)


class TestWrongInput:
    @pytest.mark.parametrize("method", ["encode", "encode_stream"])
    def test_a_single_string(self, encoder, method):
        with pytest.raises(TypeError, match="single string"):
            getattr(encoder, method)("fever")

    @pytest.mark.parametrize("method", ["encode", "encode_stream"])
    @pytest.mark.parametrize("bad", [{"a": "fever"}, None, 7])
    def test_something_else_than_a_list(self, encoder, method, bad):
        with pytest.raises(TypeError, match=f"texts is of type {type(bad).__name__}; give a list"):
            getattr(encoder, method)(bad)

    def test_an_iterator_where_the_number_must_be_known(self, encoder):
        with pytest.raises(TypeError, match="texts is of type generator; give a list, or take encode_stream"):
            encoder.encode(text for text in ["fever"])

    @pytest.mark.parametrize("device", [3, ["cuda:0"]])
    def test_a_device_that_is_no_string(self, device):
        with pytest.raises(EncoderOptionError, match=r"device is .*; give a string: cpu, cuda"):
            Encoder.load("minilm", device=device)

    def test_an_unknown_precision_is_told_before_the_model_is_looked_for(self):
        with pytest.raises(EncoderOptionError, match="precision 'fp7' is unknown"):
            Encoder.load("nobody/nothing", precision="fp7")

    @pytest.mark.parametrize("bad", [None, 7, b"bytes", ["a", "pair"], ("a", "pair"), float("nan")])
    @pytest.mark.parametrize("kind", ["passage", None])
    def test_something_else_than_a_string_is_named_by_its_position(self, encoder, bad, kind):
        with pytest.raises(TypeError, match=f"text 2 is of type {type(bad).__name__};"):
            encoder.encode(["fine", "fine too", bad], kind)

    def test_the_position_counts_over_windows_and_with_a_prefix(self, prefixed):
        texts = ["x" * 64] * 100 + [None]
        with pytest.raises(TypeError, match="text 100 is of type NoneType"):
            prefixed.encode(texts, "query")

    def test_an_unknown_kind(self, encoder):
        with pytest.raises(EncoderOptionError, match=r"'document'.*'query', 'passage' or None"):
            encoder.encode_stream(["a"], "document")

    @pytest.mark.parametrize("number", [0, -1])
    def test_a_batch_of_no_texts(self, encoder, number):
        with pytest.raises(EncoderOptionError, match=f"batch of {number} texts"):
            encoder.encode(["a"], max_texts=number)


class TestTruncateDim:
    def test_keeps_the_first_dimensions_at_unit_length(self, texts, vectors):
        encoder = Encoder.load("minilm", device="cpu", precision="fp32", truncate_dim=64)
        short = encoder.encode(texts[:20])
        assert (encoder.dim, short.shape, short.dtype) == (64, (20, 64), np.float32)
        first = vectors[:20, :64]
        np.testing.assert_allclose(short, first / np.linalg.norm(first, axis=1, keepdims=True), atol=1e-6)

    @pytest.mark.parametrize(("stated", "asked", "dim"), [(12, None, 12), (12, 20, 20), (12, 32, 32), (99, None, 32)])
    def test_the_models_own_number_holds_unless_another_is_asked_for(self, tiny, edit_json, stated, asked, dim):
        whole = Encoder.load(tiny, device="cpu", precision="fp32").encode(["fever", "chills"])
        edit_json(tiny / "config_sentence_transformers.json", truncate_dim=stated)
        encoder = Encoder.load(tiny, device="cpu", precision="fp32", truncate_dim=asked)
        found = encoder.encode(["fever", "chills"])
        first = whole[:, :dim]
        np.testing.assert_allclose(found, first / np.linalg.norm(first, axis=1, keepdims=True), atol=1e-6)
        assert encoder.dim == dim
        assert encoder.spec.dim == min(stated, 32)  # what an index of this model has, unless another is asked for

    def test_the_models_own_number_as_sentence_transformers_writes_it(self, tiny, tmp_path):
        theirs = SentenceTransformer(str(tiny), device="cpu", truncate_dim=12)
        theirs.save(str(tmp_path / "saved"))
        theirs = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
        theirs = theirs.encode(["fever", "chills"], normalize_embeddings=True)
        ours = Encoder.load(tmp_path / "saved", device="cpu", precision="fp32").encode(["fever", "chills"])
        np.testing.assert_allclose(ours, theirs, atol=1e-5)

    @pytest.mark.parametrize("stated", [0, "many", 2.5, True])
    def test_the_models_own_number_is_none(self, tiny, edit_json, stated):
        edit_json(tiny / "config_sentence_transformers.json", truncate_dim=stated)
        with pytest.raises(ModelError, match=f"truncate_dim is {stated!r}, not a number of dimensions"):
            Encoder.load(tiny)

    @pytest.mark.parametrize("dim", [0, -1, 385])
    def test_out_of_range(self, dim):
        with pytest.raises(EncoderOptionError, match=f"truncate_dim is {dim}; model 'minilm' has 1 to 384"):
            Encoder.load("minilm", truncate_dim=dim)


class TestStats:
    def test_texts_and_tokens_are_counted(self, encoder):
        before = encoder.stats
        encoder.encode(["fever", "fever fever", ""])
        done = encoder.stats - before
        assert (done.texts, done.tokens, done.truncated) == (3, 3 + 4 + 2, 0)
        assert done.seconds > 0

    def test_add_and_subtract(self):
        one, two = EncodeStats(1, 10, 0, 0.5), EncodeStats(2, 30, 1, 1.0)
        assert one + two == EncodeStats(3, 40, 1, 1.5)
        assert (one + two) - two == one

    def test_two_threads_get_right_vectors_and_right_counts(self, encoder, texts, vectors):
        parts = [texts[start::4] for start in range(4)]
        before = encoder.stats
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(encoder.encode, parts))
        for start, found in enumerate(results):
            assert cosines(found, vectors[start % 4 :: 4]).min() >= 0.99999
        done = encoder.stats - before
        assert (done.texts, done.truncated) == (len(texts), 3)
