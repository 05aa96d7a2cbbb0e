import pytest

from bench.encode.session import Session
from bench.encode.texts import TextSet
from bench.encode.ways import REFERENCE

TEXTS = TextSet("answers", [f"text {number}" for number in range(20)], [4] * 20)


@pytest.fixture
def asked(diary):
    """Names of the ways in the order in which they encoded all the texts."""
    return lambda: [line.split()[0] for line in diary.read_text().splitlines() if line.split()[1] == "20"]


def test_the_order_is_turned_round_every_second_round(fake, tmp_path, asked):
    with Session([fake("a"), fake("b"), fake("c")], tmp_path, "cpu", quiet=True) as session:
        session.rounds(TEXTS, 3)
    assert asked() == ["a", "b", "c", "c", "b", "a", "a", "b", "c"]


def test_what_the_ways_say_is_kept(fake, tmp_path):
    with Session([fake("a")], tmp_path, "cpu", quiet=True) as session:
        turns = session.rounds(TEXTS, 2)["a"]
        assert session.about["a"]["versions"] == {"fake": "1"}
        assert session.about["a"]["idle_share"] >= 0
    assert turns.seconds == [29.0, 29.0]
    assert turns.vectors.shape == (20, 32)
    assert turns.batch == 32
    assert turns.peaks["peak_mb"] > 1


def test_the_best_batch_size_is_looked_for_once_a_set(fake, tmp_path, diary):
    with Session([fake("a", sweep=True)], tmp_path, "cpu", quiet=True) as session:
        assert session.rounds(TEXTS, 1)["a"].batch == 4
        swept = len(diary.read_text().splitlines())
        session.rounds(TEXTS, 1)
        assert len(diary.read_text().splitlines()) == swept + 2  # a warm-up and a round


def test_a_sweep_ends_when_larger_batches_are_slower(fake, tmp_path, diary):
    with Session([fake("a", sweep=True)], tmp_path, "cpu", quiet=True) as session:
        session.rounds(TEXTS, 1)
    sizes = [int(line.split()[2]) for line in diary.read_text().splitlines()]
    assert sizes == [32, 1, 2, 4, 8, 16, 32, 4]  # the warm-up, what was tried, the round


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        ("load", "ImportError: No module named 'optimum' second line"),
        ("encode", "MemoryError: too many texts"),
        ("die", "the worker ended with status 3; its last line: the last words"),
    ],
)
def test_a_way_that_fails_is_out_with_its_reason_and_the_others_go_on(fake, tmp_path, fail, reason):
    with Session([fake(REFERENCE), fake("bad", fail=fail), fake("c")], tmp_path, "cpu", quiet=True) as session:
        turns = session.rounds(TEXTS, 2)
    assert sorted(turns) == ["c", REFERENCE]
    assert session.failed == {"bad": reason}


def test_a_way_for_another_device_does_not_run(fake, tmp_path):
    with Session([fake("a")], tmp_path, "cuda", quiet=True) as session:
        assert session.failed == {"a": "it does not run on cuda"}


def test_an_environment_that_cannot_be_made_is_a_reason(fake, tmp_path, monkeypatch):
    from dataclasses import replace

    from bench.encode import session as module
    from bench.encode.peers import PeersError

    def broken():
        raise PeersError("there is no uv")

    monkeypatch.setattr(module, "peers_python", broken)
    with Session([replace(fake("a"), python="peers")], tmp_path, "cpu", quiet=True) as session:
        assert session.failed == {"a": "there is no uv"}
