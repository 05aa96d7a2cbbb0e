import docker.models.containers
import pytest

from es_ingest.cluster import Connection, DockerError, open_cluster
from es_ingest.cluster import docker as docker_module
from es_ingest.cluster.docker import docker_fault, make_container, volume_name


class FakeEngine:
    def __init__(self, **options):
        self.client = self

    def host(self):
        return "localhost"

    def close(self):
        pass


@pytest.fixture
def _fake_engine(monkeypatch):
    monkeypatch.setattr("testcontainers.core.container.DockerClient", FakeEngine)


@pytest.mark.usefixtures("_fake_engine")
@pytest.mark.parametrize(("port", "published"), [(None, ""), (0, ""), (9300, "9300")])
def test_container_is_published_on_loopback_only(port, published):
    container = make_container("9.5.3", "512m", port, "vol")
    sent = docker.models.containers._create_container_args(
        {"image": container.image, "ports": container.ports, "version": "1.45", "volumes": container.volumes}
    )
    assert sent["host_config"]["PortBindings"] == {"9200/tcp": [{"HostIp": "127.0.0.1", "HostPort": published}]}
    assert sent["host_config"]["Binds"] == ["vol:/usr/share/elasticsearch/data:rw"]
    assert container.image == "elasticsearch:9.5.3"
    assert container.env["xpack.security.enabled"] == "false"
    assert container.env["ES_JAVA_OPTS"] == "-Xms512m -Xmx512m"


def test_volume_stands_for_the_data_folder(tmp_path):
    assert volume_name(None) == "medte-elasticsearch-default"
    assert volume_name(tmp_path) == volume_name(tmp_path) != volume_name(tmp_path / "x")


def test_no_engine_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    assert docker_fault()
    with pytest.raises(DockerError, match=r"the Docker engine does not answer: .*use --es local or a URL"):
        open_cluster("docker").__enter__()


class FakeContainer:
    """Stands for a container of testcontainers."""

    def __init__(self, fault=None):
        self.fault, self.stopped = fault, []

    def start(self):
        if self.fault:
            raise self.fault

    def stop(self, delete_volume):
        self.stopped.append(delete_volume)

    def get_container_host_ip(self):
        return "localhost"

    def get_exposed_port(self, port):
        return 12345

    def get_logs(self):
        return b"line 1\n", b"max virtual memory areas too low\n"


def test_container_is_removed_and_its_volume_kept(monkeypatch):
    container = FakeContainer()
    made = []
    monkeypatch.setattr(docker_module, "docker_fault", lambda: "")
    monkeypatch.setattr(docker_module, "make_container", lambda *args: made.append(args) or container)
    monkeypatch.setattr(docker_module, "check", lambda connection: connection)
    with open_cluster("docker") as connection:
        assert connection == Connection(
            "http://localhost:12345",
            "docker",
            "asked for docker: container elasticsearch:9.5.3 with volume medte-elasticsearch-default",
        )
    assert made == [("9.5.3", "1g", None, "medte-elasticsearch-default")]
    assert container.stopped == [False]


def test_container_that_fails_shows_its_log_and_is_removed(monkeypatch):
    container = FakeContainer(TimeoutError("too slow"))
    monkeypatch.setattr(docker_module, "docker_fault", lambda: "")
    monkeypatch.setattr(docker_module, "make_container", lambda *args: container)
    with pytest.raises(DockerError, match="too slow; its last log lines:\nline 1\nmax virtual memory"):
        open_cluster("docker", ephemeral=True).__enter__()
    assert container.stopped == [False]


@pytest.mark.docker
def test_real_container():
    if fault := docker_fault():
        pytest.skip(f"no Docker engine: {fault}")
    with open_cluster("docker", ephemeral=True, heap="512m") as connection:
        assert connection.client().info()["version"]["number"] == connection.version
