"""What the encoder promises whatever the model: order, shape, length, laziness, counting."""

import logging
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from medte_haystack.encoder import Encoder, EncodeStats, ModelFiles, Tokeniser
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


class TestStream:
    """With the fake encoder a window is closed by 1,024 characters (16 batches of 16 tokens)."""

    def test_pulls_a_window_and_no_more(self, fake_encoder):
        pulled = count()
        stream = fake_encoder.encode_stream(f"{next(pulled):<64}" for _ in range(1000))
        assert next(pulled) == 0
        next(stream)
        assert next(pulled) == 1 + 16
        list(islice(stream, 15))
        assert next(pulled) == 2 + 16
        next(stream)
        assert next(pulled) == 3 + 2 * 16

    def test_empty_texts_close_a_window_by_their_number(self, fake_encoder, monkeypatch):
        monkeypatch.setattr("medte_haystack.encoder.stream._WINDOW_TEXTS", 10)
        pulled = count()
        next(fake_encoder.encode_stream("" for _ in iter(lambda: next(pulled), 100)))
        assert next(pulled) == 10

    @pytest.mark.parametrize("last", [OSError("the source broke"), None])
    def test_what_came_before_an_error_is_given_first(self, encoder, texts, vectors, last):
        def source():
            yield from texts[:20]
            if last is None:
                yield None
            else:
                raise last

        stream = encoder.encode_stream(source())
        found = np.stack([next(stream) for _ in range(20)])
        assert cosines(found, vectors[:20]).min() >= 0.99999
        with pytest.raises(OSError if last else TypeError, match="the source broke" if last else "text 20 is of type"):
            next(stream)

    def test_order_over_several_windows(self, fake_encoder):
        lengths = [number % 50 for number in range(500)]
        vectors = list(fake_encoder.encode_stream("a " * length for length in lengths))
        assert [vector[0] for vector in vectors] == [length + 2 for length in lengths]

    def test_equals_encode(self, encoder, texts, vectors):
        stream = encoder.encode_stream(iter(texts[:20]))
        np.testing.assert_allclose(np.stack(list(stream)), vectors[:20], atol=1e-6)


class TestOtherDevices:
    """Where a GPU computes, windows are tokenised ahead of it in a thread."""

    def test_order_and_laziness(self, encoder):
        ahead = Encoder(encoder.files, Tokeniser.of(encoder.files, 64), CountingBackend("cuda:0"))
        lengths = [number % 50 for number in range(2000)]
        pulled = count()
        stream = ahead.encode_stream("a " * lengths[next(pulled)] for _ in lengths)
        assert next(stream)[0] == 2
        assert next(pulled) < 300  # of 2,000: a window and the two ahead of it
        with pytest.raises(IndexError):  # the probe above took one of the lengths
            list(stream)

    @pytest.mark.parametrize("number", [5, 60])
    def test_what_came_before_an_error_is_given_first(self, encoder, number):
        def source():
            yield from ["fever and chills " * 3] * number
            raise OSError("the source broke")

        ahead = Encoder(encoder.files, Tokeniser.of(encoder.files, 64), CountingBackend("cuda:0"))
        stream = ahead.encode_stream(source())
        assert len([next(stream) for _ in range(number)]) == number
        with pytest.raises(OSError, match="the source broke"):
            next(stream)

    def test_the_texts_are_read_in_the_callers_thread(self, encoder):
        ahead = Encoder(encoder.files, Tokeniser.of(encoder.files, 64), CountingBackend("cuda:0"))
        threads = set()

        def source():
            for _ in range(500):
                threads.add(threading.get_ident())
                yield "fever and chills"

        assert len(ahead.encode(list(source()))) == 500
        assert sum(1 for _ in ahead.encode_stream(source())) == 500
        assert threads == {threading.get_ident()}


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


def test_a_small_call_is_spread_over_all_cores(encoder):
    backend = CountingBackend()
    backend.token_budget, backend.parallel = 1024, 4
    spread = Encoder(encoder.files, encoder.tokeniser, backend)
    spread.encode(["word " * 100] * 8)  # 816 tokens
    assert [len(batch) for batch in backend.batches] == [2, 2, 2, 2]
    backend.batches.clear()
    spread.encode(["fever"] * 8)
    assert [len(batch) for batch in backend.batches] == [8]  # too small to be worth it


def test_batches_become_smaller_only_at_the_end_of_a_stream(encoder):
    backend = CountingBackend()
    backend.token_budget, backend.parallel = 1024, 4
    list(Encoder(encoder.files, encoder.tokeniser, backend).encode_stream("fever " * 98 for _ in range(1010)))
    sizes = [len(batch) for batch in backend.batches]
    assert sum(sizes) == 1010
    first_small = next(place for place, size in enumerate(sizes) if size < 6)  # 6 are left at the end of a window
    assert sum(sizes[:first_small]) > 800  # over several windows
    assert min(sizes) <= 3


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


class CountingBackend:
    """Stands for a device: the vector of a text is its number of tokens, everywhere."""

    precision, token_budget, parallel = "fp32", 16, 1

    def __init__(self, device="cpu"):
        self.device = device
        self.batches = []

    def embed(self, batches):
        for batch in batches:
            self.batches.append(batch)
            yield np.repeat(np.asarray([[len(one)] for one in batch], dtype=np.float32), 384, axis=1)

    def embed_one(self, ids):
        return np.full(384, len(ids), dtype=np.float32)


@pytest.fixture
def fake_encoder(encoder):
    return Encoder(encoder.files, Tokeniser.of(encoder.files, 64), CountingBackend())


@pytest.fixture
def prefixed(encoder):
    spec = type(encoder.spec)("prefixed", "", None, 384, "mean", query_prefix="query: ")
    files = ModelFiles(spec, encoder.files.folder)
    return Encoder(files, Tokeniser.of(files), CountingBackend())
