import pytest

from es_ingest.planning.repeats import Repeats


def counted(names, most):
    repeats = Repeats(most)
    for name in names:
        repeats.add(name)
    return repeats


def test_the_count_is_exact_while_the_ids_have_room():
    repeats = counted([*map(str, range(1000)), *map(str, range(300)), *["0"] * 5], 1000)
    assert (repeats.count, repeats.exact) == (305, True)
    repeats.add("0")
    assert repeats.count == 306


def test_beyond_that_it_is_near():
    names = [str(number) for number in range(50_000)]
    repeats = counted([*names, *names[::5]], 4096)
    assert not repeats.exact
    assert repeats.count == pytest.approx(10_000, rel=0.1)


@pytest.mark.parametrize("times", [1, 10_000])
def test_one_id(times):
    repeats = counted(["a"] * times, 16)
    assert (repeats.count, repeats.exact) == (times - 1, True)


def test_no_id_and_odd_ids():
    assert counted([], 16).count == 0
    assert counted(["", "\ud800", "é", "e\u0301", "", "\ud800"], 16).count == 2
