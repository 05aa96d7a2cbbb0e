"""SIGKILL at random moments, signals that drain, and the same command again."""

import json
import random
import signal
import sqlite3
import time
from contextlib import closing

import pytest

_KILLS = 20


def acknowledged(task):
    """Tell whether the ledger has any record."""
    with closing(sqlite3.connect(f"file:{task.ledger}?mode=ro", uri=True)) as ledger:
        return ledger.execute("select exists (select 1 from record)").fetchone()[0]


def test_twenty_kills_then_one_run_to_the_end(task, start, kill, finish, check_whole):
    wanted = task(40_000, pace=8_000)
    chance = random.Random(5)
    longest = 0.6  # seconds; a busy machine acknowledges nothing in that time
    killed = 0
    while killed < _KILLS:
        process = start(wanted)
        assert process.stdout.readline() == "writing\n", process.stderr.read()
        time.sleep(chance.uniform(0.0, longest))
        killed += kill(process) == -signal.SIGKILL
        if not acknowledged(wanted):
            longest = min(10.0, 1.5 * longest)
    summary = finish(task(40_000))
    assert summary["unchanged"] > 0
    assert summary["unchanged"] + summary["records"] == summary["read"] == 40_000
    assert (summary["failed"], summary["repeated"]) == (0, 0)
    check_whole(wanted)
    again = finish(task(40_000))
    assert (again["unchanged"], again["written"]) == (40_000, 0)


def test_kills_while_records_change(task, start, kill, finish, check_whole):
    finish(task(6_000))
    changed = task(6_000, version=2, pace=8_000)
    for wait in (0.05, 0.15, 0.3):
        process = start(changed)
        assert process.stdout.readline() == "writing\n"
        time.sleep(wait)
        kill(process)
    summary = finish(task(6_000, version=2))
    assert summary["created"] == 0
    assert 0 < summary["updated"] <= 2_000 + 3 * 2_500
    check_whole(changed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_the_next_run_goes_on(task, start, end, finish, check_whole, number):
    wanted = task(20_000, pace=5_000)
    process = start(wanted)
    process.stdout.readline()
    time.sleep(1.5)
    process.send_signal(number)
    out, err = end(process, timeout=20)
    assert process.returncode == 0, err
    first = json.loads(out.splitlines()[-1])
    assert first["interrupted"]
    assert 0 < first["records"] < 20_000
    assert f"{signal.Signals(number).name}: finishing" in err
    second = finish(task(20_000))
    assert (second["unchanged"], second["records"]) == (first["records"], 20_000 - first["records"])
    check_whole(wanted)
