import json

import pytest

from bench.train import __main__ as command
from bench.train.worker import OURS, THEIRS, Settings, train_ours, train_theirs
from medte_haystack.training.pairs import Pair
from medte_train.pair_files import write_pairs


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, (Pair(str(n), "s", f"question {n}", f"answer {n}") for n in range(8)))
    return path


@pytest.mark.parametrize("train", [train_ours, train_theirs])
def test_each_way_tells_when_each_step_ended(pairs, tmp_path, train):
    settings = Settings("minilm", 4, 2, None, 16, 3, "fp32", "cpu", True, False, (str(pairs),))
    times = train(settings, tmp_path)
    assert len(times) == 3
    assert times == sorted(times)


def test_both_ways_are_set_beside_each_other(monkeypatch, tmp_path, capsys):
    asked = []

    def measure(way, settings):
        asked.append(way)
        return {"way": way, "seconds": [2.0 if way == OURS else 4.0], "peak_mb": 100.0 if way == OURS else 200.0}

    monkeypatch.setattr(command, "measure", measure)
    command.main(["--rounds", "2", "--batch", "8", "--json", str(tmp_path / "train.json")])
    assert asked == [OURS, THEIRS, THEIRS, OURS]
    ours, theirs = json.loads((tmp_path / "train.json").read_text())["rows"]
    assert (ours["pairs_per_second"], theirs["pairs_per_second"]) == (4.0, 2.0)
    assert capsys.readouterr().out.splitlines()[-1].split()[-3:] == ["2.00", "0.50", "0.50"]
