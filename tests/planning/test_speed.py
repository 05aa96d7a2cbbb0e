import logging

import pytest

from es_ingest.planning.speed import Sample, measure


def sample_of(texts, most=4096):
    sample = Sample(most)
    for text in texts:
        sample.add(text)
    return sample


def test_a_sample_comes_from_all_over_the_stream():
    sample = sample_of((str(number) for number in range(100_000)), most=1000)
    numbers = sorted(map(int, sample.texts()))
    assert len(set(numbers)) == 1000
    assert not sample.whole
    assert sum(numbers) / 1000 == pytest.approx(50_000, rel=0.1)
    assert [sum(low <= n < low + 25_000 for n in numbers) for low in range(0, 100_000, 25_000)] == pytest.approx(
        [250] * 4, rel=0.25
    )


def test_a_small_stream_is_kept_whole():
    sample = sample_of(["a", "b", "c"])
    assert sample.whole
    assert sorted(sample.texts()) == ["a", "b", "c"]


def test_a_huge_word_is_clipped():
    assert max(map(len, sample_of(["x" * 10**6]).texts())) < 20_000


def test_speed_is_that_of_the_encoder(encoder):
    texts = [f"Patient {number} was seen for asthma and given an inhaler." for number in range(5000)]
    before = encoder.stats
    speed = measure(encoder, sample_of(texts, most=500), seconds=1.5)
    done = encoder.stats - before
    assert done.seconds < 5
    assert 0 < speed.slowest <= speed.tokens_per_second <= speed.fastest
    assert speed.chunks < done.texts  # the first ones warm up
    assert speed.seconds < done.seconds
    assert speed.passes >= 1


def test_a_small_corpus_is_encoded_once_after_the_warm_up(encoder):
    before = encoder.stats
    speed = measure(encoder, sample_of(["one", "two words", "and three words"]), seconds=60)
    assert (speed.chunks, speed.passes) == (3, 1)
    assert (encoder.stats - before).texts == 6


def test_no_chunks_no_speed(encoder):
    assert measure(encoder, Sample(), seconds=1) is None


def test_truncated_texts_are_not_reported_again_and_again(encoder, caplog):
    measure(encoder, sample_of(["word " * 600]), seconds=0.1)
    assert not caplog.records
    assert logging.getLogger("medte_haystack.encoder").level == logging.NOTSET
