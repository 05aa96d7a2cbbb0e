import builtins
import sys

import pytest

from es_ingest.distributed.cluster import Workers, plan_workers, ray_cluster
from es_ingest.distributed.errors import EngineError


@pytest.mark.parametrize(
    ("nodes", "number", "device", "expected"),
    [
        ([(2, 0)], None, None, (1, 2, "cpu")),
        ([(2, 0)], 2, None, (2, 1, "cpu")),
        ([(16, 0), (16, 0)], None, None, (2, 16, "cpu")),
        ([(64, 0), (64, 0), (8, 0)], None, None, (4, 32, "cpu")),
        ([(16, 0), (16, 0)], 6, None, (6, 5, "cpu")),
        ([(0, 0), (8, 0)], None, None, (1, 8, "cpu")),
        ([(16, 2), (8, 0)], None, None, (2, 8, "cuda")),
        ([(16, 2), (8, 0)], 1, "cuda", (1, 8, "cuda")),
        ([(16, 2)], None, "cpu", (1, 16, "cpu")),
    ],
)
def test_workers_for_a_cluster(nodes, number, device, expected):
    found = plan_workers(nodes, number, device)
    assert (found.number, found.cpus, found.device) == expected
    assert found.machines == len(nodes)


@pytest.mark.parametrize(
    ("nodes", "number", "device", "message"),
    [
        ([(2, 0)], 3, None, "3 workers want a core each and the Ray cluster has 2"),
        ([(2, 0)], None, "cuda", "has no GPU"),
        ([(8, 1)], 2, None, "2 workers want a GPU each and the Ray cluster has 1"),
        ([(0, 0)], None, None, "has no CPUs"),
    ],
)
def test_what_a_cluster_has_not(nodes, number, device, message):
    with pytest.raises(EngineError, match=message):
        plan_workers(nodes, number, device)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'medte\[ray\]'"), ray_cluster(None, None, None):
        pass


def test_without_the_packages_of_ray_data_the_extra_is_named(monkeypatch):
    found = builtins.__import__
    monkeypatch.delitem(sys.modules, "ray.data", raising=False)

    def lacking(name, *args, **kwargs):
        if name.startswith("ray.data"):
            raise ImportError("No module named 'pyarrow'", name="pyarrow")
        return found(name, *args, **kwargs)

    monkeypatch.setattr("es_ingest.distributed.cluster.import_module", lacking)
    with pytest.raises(EngineError, match=r"pyarrow.*pip install 'medte\[ray\]'"), ray_cluster(None, None, None):
        pass


def test_a_client_address_is_refused():
    with (
        pytest.raises(EngineError, match=r"ray://head:10001.*--ray-address auto"),
        ray_cluster("ray://head:10001", None, None),
    ):
        pass


def test_other_machines_cannot_reach_a_server_on_this_one():
    Workers(1, 1, "cpu", 1, remote=False).check_reach("http://localhost:9200")
    Workers(1, 1, "cpu", 2, remote=True).check_reach("http://search:9200")
    with pytest.raises(EngineError, match="cannot reach the server at http://localhost:9200"):
        Workers(1, 1, "cpu", 2, remote=True).check_reach("http://localhost:9200")
