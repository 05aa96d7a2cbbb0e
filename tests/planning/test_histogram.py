import re

import pytest

from es_ingest.planning.histogram import bars, bins
from es_ingest.planning.lengths import Lengths


def ranges(lengths, limit):
    return [(one.low, one.high, one.count) for one in bins(Lengths(lengths), limit)]


def test_quantiles_are_those_of_the_sorted_lengths():
    lengths = Lengths([7] * 50)
    lengths.add([8] * 40 + [9] * 9 + [1000])
    assert [lengths.quantile(share) for share in (0.5, 0.9, 0.99, 1.0)] == [7, 8, 9, 1000]
    assert (lengths.number, lengths.longest, lengths.over(8), lengths.over(7)) == (100, 1000, 10, 50)
    assert lengths.total() == 350 + 320 + 81 + 1000
    assert lengths.total(limit=512) == 350 + 320 + 81 + 512
    assert lengths.to_dict() == {"mean": 17.5, "p50": 7, "p90": 8, "p99": 9, "max": 1000}


def test_no_lengths():
    nothing = Lengths()
    assert nothing.to_dict() == {"mean": 0.0, "p50": 0, "p90": 0, "p99": 0, "max": 0}
    assert bins(nothing, 512) == []
    assert bars([], 40) == []


def test_the_limit_ends_a_bin_and_the_rest_doubles():
    found = ranges([1, 64, 65, 512, 513, 1024, 1025, 5000], 512)
    assert found[:2] == [(1, 64, 2), (65, 128, 1)]
    assert found[7:] == [(449, 512, 1), (513, 1024, 2), (1025, 2048, 1), (2049, 4096, 0), (4097, 8192, 1)]
    assert [one.over for one in bins(Lengths([512, 513]), 512)] == [False] * 8 + [True]


@pytest.mark.parametrize("limit", [3, 100, 256, 512, 8192])
@pytest.mark.parametrize("longest", [1, 2, 7, 99, 256, 300, 100_000])
def test_bins_have_no_gap_and_hold_everything(longest, limit):
    found = bins(Lengths(range(1, longest + 1)), limit)
    assert [one.low for one in found] == [1, *(one.high + 1 for one in found[:-1])]
    assert sum(one.count for one in found) == longest
    assert found[-1].high >= longest
    assert all(one.over == (one.high > limit) for one in found)
    assert len([one for one in found if not one.over]) <= 8


def test_bars_grow_with_the_count_and_what_is_there_shows():
    found = bins(Lengths([10] * 1000 + [100] * 500 + [200] + [300] * 250), 256)
    lines = bars(found, 40)
    shapes = [re.findall("[█▉▊▋▌▍▎▏▒]+", line) for line in lines]
    assert shapes[0] == ["█" * 40]
    assert shapes[1] == []
    assert shapes[3] == ["█" * 20]
    assert shapes[6] == ["▏"]  # one text of a thousand is not nothing
    assert shapes[8] == ["▒" * 10]
    assert len({len(line) for line in lines}) == 1
    assert lines[0].endswith("1,000   57.1%")


def test_ascii_bars_differ_beyond_the_limit_too():
    lines = bars(bins(Lengths([10, 10, 300]), 256), 10, blocks=False)
    assert all(line.isascii() for line in lines)
    assert "#" * 10 in lines[0]
    assert "+" * 5 in lines[-1]
