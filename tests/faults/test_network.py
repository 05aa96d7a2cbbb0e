"""A network that cuts, delays and truncates, and one that is gone for a while."""

import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest


@pytest.mark.parametrize("seed", [1, 2])
def test_connections_that_break(task, start, finish, check_whole, proxy_class, seed):
    wanted = task(20_000)
    where = urlsplit(wanted.url)
    with proxy_class(where.hostname, where.port, 0.0, seed) as proxy:
        through = replace(wanted, url=proxy.url, pace=10_000)
        process = start(through)
        process.stdout.readline()  # the index is there; what a person starts may fail at the start
        proxy._share = 0.02
        summary = finish(through, process)
    assert all(proxy.done.values()), proxy.done
    assert (summary["records"], summary["failed"]) == (20_000, 0)
    assert summary["created"] + summary["updated"] == 20_000
    check_whole(wanted)


def test_a_server_that_stays_away_is_given_up_and_the_next_run_goes_on(
    task, start, end, finish, check_whole, proxy_class
):
    wanted = task(5_000)
    where = urlsplit(wanted.url)
    with proxy_class(where.hostname, where.port, 0.0) as proxy:
        process = start(replace(wanted, url=proxy.url, pace=2_000, tries=3))
        process.stdout.readline()
        time.sleep(1)
        proxy._share = 1.0
        _, err = end(process, timeout=60)
    assert process.returncode == 1
    assert "documents of this request are not acknowledged" in err
    summary = finish(wanted)
    assert summary["unchanged"] + summary["records"] == 5_000
    check_whole(wanted)
