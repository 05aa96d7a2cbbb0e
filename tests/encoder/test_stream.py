"""How a stream flows: read as far as needed, in windows, its batches in order, errors where they happened."""

import threading
from itertools import count, islice

import numpy as np
import pytest

from medte_haystack.encoder import Encoder, Tokeniser


def cosines(left, right):
    return (left * right).sum(axis=-1)


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

    def test_what_is_kept_beside_the_texts_closes_a_window(self, fake_encoder, monkeypatch):
        monkeypatch.setattr("medte_haystack.encoder.stream._WINDOW_BESIDE", 2000)
        pulled = count()
        stream = fake_encoder.encode_stream(("a" for _ in iter(lambda: next(pulled), 100)), beside=lambda: 500)
        next(stream)
        assert next(pulled) == 4  # the number that was counted last, and its text not read

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

    def test_order_and_laziness(self, encoder, counting_backend):
        ahead = Encoder(encoder.files, Tokeniser.of(encoder.files, 64), counting_backend("cuda:0"))
        lengths = [number % 50 for number in range(2000)]
        pulled = count()
        stream = ahead.encode_stream("a " * lengths[next(pulled)] for _ in lengths)
        assert next(stream)[0] == 2
        assert next(pulled) < 300  # of 2,000: a window and the two ahead of it
        with pytest.raises(IndexError):  # the probe above took one of the lengths
            list(stream)

    @pytest.mark.parametrize("number", [5, 60])
    def test_what_came_before_an_error_is_given_first(self, encoder, counting_backend, number):
        def source():
            yield from ["fever and chills " * 3] * number
            raise OSError("the source broke")

        ahead = Encoder(encoder.files, Tokeniser.of(encoder.files, 64), counting_backend("cuda:0"))
        stream = ahead.encode_stream(source())
        assert len([next(stream) for _ in range(number)]) == number
        with pytest.raises(OSError, match="the source broke"):
            next(stream)

    def test_the_texts_are_read_in_the_callers_thread(self, encoder, counting_backend):
        ahead = Encoder(encoder.files, Tokeniser.of(encoder.files, 64), counting_backend("cuda:0"))
        threads = set()

        def source():
            for _ in range(500):
                threads.add(threading.get_ident())
                yield "fever and chills"

        assert len(ahead.encode(list(source()))) == 500
        assert sum(1 for _ in ahead.encode_stream(source())) == 500
        assert threads == {threading.get_ident()}


def test_a_small_call_is_spread_over_all_cores(encoder, counting_backend):
    backend = counting_backend()
    backend.token_budget, backend.parallel = 1024, 4
    spread = Encoder(encoder.files, encoder.tokeniser, backend)
    spread.encode(["word " * 100] * 8)  # 816 tokens
    assert [len(batch) for batch in backend.batches] == [2, 2, 2, 2]
    backend.batches.clear()
    spread.encode(["fever"] * 8)
    assert [len(batch) for batch in backend.batches] == [8]  # too small to be worth it


def test_batches_become_smaller_only_at_the_end_of_a_stream(encoder, counting_backend):
    backend = counting_backend()
    backend.token_budget, backend.parallel = 1024, 4
    list(Encoder(encoder.files, encoder.tokeniser, backend).encode_stream("fever " * 98 for _ in range(1010)))
    sizes = [len(batch) for batch in backend.batches]
    assert sum(sizes) == 1010
    first_small = next(place for place, size in enumerate(sizes) if size < 6)  # 6 are left at the end of a window
    assert sum(sizes[:first_small]) > 800  # over several windows
    assert min(sizes) <= 3
