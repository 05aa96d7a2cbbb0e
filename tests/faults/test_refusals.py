"""Documents, indices and disks that take nothing."""

import json
import stat
import subprocess
import time
from pathlib import Path

import pytest


def test_a_mapping_conflict_in_one_percent_of_the_records(driver, task, finish, check_whole, connection):
    odd = task(10_000, odd=True)
    summary = finish(odd)
    spoilt = {number for number in range(10_000) if driver.is_odd(number)}
    assert (summary["records"], summary["refused"], summary["failed"]) == (9_900, 100, 100)
    check_whole(odd, lacking=spoilt)
    letters = [json.loads(line) for line in Path(odd.dead).read_text().splitlines()]
    assert {int(one["record"]["id"][1:]) for one in letters} == spoilt
    assert all("number" in one["reason"] and one["position"].startswith("made:") for one in letters)
    assert stat.S_IMODE(Path(odd.dead).stat().st_mode) == 0o600
    mended = finish(task(10_000))
    assert (mended["unchanged"], mended["records"]) == (9_900, 100)
    check_whole(task(10_000))


def test_more_dead_letters_than_allowed_end_the_run(task, start, end, finish, check_whole):
    process = start(task(10_000, odd=True, max_dead=10))
    _, err = end(process, timeout=60)
    assert process.returncode == 1
    assert "more than 10 dead letters (--max-dead)" in err
    finish(task(10_000))
    check_whole(task(10_000))


def test_an_index_that_is_read_only_for_a_while(task, start, finish, check_whole, connection):
    wanted = task(100_000, size=2_000)  # more than may be in memory, all of which could be read meanwhile
    process = start(wanted)
    process.stdout.readline()
    time.sleep(0.7)
    with connection.client() as client:
        block = "index.blocks.read_only_allow_delete"  # what the server sets where a disk becomes full
        client.indices.put_settings(index=wanted.index, settings={block: True})
        time.sleep(4)
        client.indices.put_settings(index=wanted.index, settings={block: None})
    summary = finish(wanted, process)
    assert summary["retried"] > 0
    assert (summary["records"], summary["failed"]) == (100_000, 0)
    check_whole(wanted)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("which", ["ledger", "dead"])
def test_a_full_disk(task, start, end, finish, check_whole, small_disk, driver, which):
    full = task(20_000, odd=which == "dead", **{which: str(small_disk / which)})
    if which == "dead":
        (small_disk / "other").write_bytes(bytes(500_000))
    process = start(full)
    _, err = end(process, timeout=60)
    assert process.returncode == 1
    assert "Error: the ledger" in err if which == "ledger" else "DeadLetterError: dead letters cannot be kept" in err
    if which == "dead":
        assert all(json.loads(line) for line in Path(full.dead).read_text().splitlines())
        (small_disk / "other").unlink()
    else:
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    summary = finish(task(20_000, **{which: full.ledger if which == "ledger" else full.dead}))
    assert summary["unchanged"] + summary["records"] == 20_000
    check_whole(full if which == "ledger" else task(20_000))


def test_refresh_and_replicas_are_put_back_after_a_kill(task, start, kill, finish, connection):
    wanted = task(20_000, pace=8_000)
    process = start(wanted)
    process.stdout.readline()
    time.sleep(1)

    def settings():
        with connection.client() as client:
            found = client.indices.get_settings(index=wanted.index, flat_settings=True)[wanted.index]["settings"]
        return found.get("index.refresh_interval"), found["index.number_of_replicas"]

    assert settings() == ("-1", "0")
    kill(process)
    finish(task(20_000))
    assert settings() == (None, "1")


@pytest.mark.parametrize("way", ["closed", "deleted"])
def test_an_index_that_goes_away_ends_the_run_and_makes_no_dead_letters(
    task, start, end, finish, check_whole, connection, way
):
    wanted = task(20_000, pace=8_000)
    process = start(wanted)
    process.stdout.readline()
    time.sleep(1)
    with connection.client() as client:
        if way == "closed":
            client.indices.close(index=wanted.index)
        else:
            client.cluster.put_settings(persistent={"action.auto_create_index": "false"})
            client.indices.delete(index=wanted.index)
        _, err = end(process, timeout=60)
        client.cluster.put_settings(persistent={"action.auto_create_index": None})
        if way == "closed":
            client.indices.open(index=wanted.index)
            client.cluster.health(index=wanted.index, wait_for_status="yellow")
    assert process.returncode == 1
    assert "takes no documents any more" in err
    assert not Path(wanted.dead).exists()
    finish(task(20_000))
    check_whole(wanted)


def test_a_cluster_that_is_read_only_for_a_while(task, start, finish, check_whole, connection):
    wanted = task(20_000, pace=8_000)
    process = start(wanted)
    process.stdout.readline()
    time.sleep(0.7)
    with connection.client() as client:
        client.cluster.put_settings(persistent={"cluster.blocks.read_only_allow_delete": True})
        time.sleep(3)
        client.cluster.put_settings(persistent={"cluster.blocks.read_only_allow_delete": None})
    summary = finish(wanted, process)
    assert (summary["records"], summary["failed"]) == (20_000, 0)
    check_whole(wanted)
