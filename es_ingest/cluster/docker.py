"""Elasticsearch in a container, through testcontainers."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from es_ingest.cluster.connection import Connection, check
from es_ingest.cluster.errors import DockerError, OptionError

logger = logging.getLogger("es_ingest.cluster")

IMAGE = "elasticsearch"
VERSION = "9.5.3"
PORT = 9200
PING_SECONDS = 3
DATA = "/usr/share/elasticsearch/data"


def docker_fault() -> str:
    """Say why the Docker engine cannot be used; empty when it answers."""
    try:
        from testcontainers.core.docker_client import DockerClient

        client = DockerClient(timeout=PING_SECONDS).client
        try:
            client.ping()
        finally:
            client.close()
    except Exception as error:  # noqa: BLE001  # docker and its transports raise many kinds; none of them is ours
        return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return ""


def volume_name(data: Path | None) -> str:
    """Return the name of the Docker volume that stands for a data folder.

    :param data: the data folder; None for the default one.
    """
    suffix = hashlib.sha256(str(Path(data).absolute()).encode()).hexdigest()[:12] if data else "default"
    return f"medte-elasticsearch-{suffix}"


def make_container(version: str, heap: str, port: int | None, volume: str | None) -> Any:
    """Describe the container: one node, published on loopback, without security.

    :param version: of Elasticsearch, and tag of the image.
    :param heap: such as 1g.
    :param port: port on this machine; None or 0 for any free one.
    :param volume: Docker volume for the indices; None to lose them with the container.
    """
    from testcontainers.community.elasticsearch import ElasticSearchContainer

    container = ElasticSearchContainer(f"{IMAGE}:{version}", port=PORT)
    container.with_env("discovery.type", "single-node")
    container.with_env("cluster.routing.allocation.disk.threshold_enabled", "false")
    container.with_env("ES_JAVA_OPTS", f"-Xms{heap} -Xmx{heap}")
    if volume:
        container.with_volume_mapping(volume, DATA, "rw")
    if container.get_docker_client().host() in ("localhost", "127.0.0.1"):
        # Without an address Docker publishes on every interface. A one-element tuple means: any free port there.
        loopback: Any = ("127.0.0.1", port) if port else ("127.0.0.1",)
        container.ports[str(PORT)] = loopback
    elif port:
        container.with_bind_ports(PORT, port)
    return container


@contextmanager
def docker_cluster(
    data: Path | None, *, heap: str, version: str | None, port: int | None, ephemeral: bool, reason: str
) -> Iterator[Connection]:
    """Give a containerised server for the time of a ``with`` block; testcontainers removes it even after a SIGKILL.

    :param data: stands for a Docker volume that keeps the indices; None for the default one.
    :param heap: such as 1g.
    :param version: of Elasticsearch; None for the default one.
    :param port: port on this machine; None or 0 for any free one.
    :param ephemeral: keep no indices.
    :param reason: why Docker.
    :raises DockerError: if the engine does not answer or the container does not become ready.
    """
    if data is not None and ephemeral:
        raise OptionError(f"an ephemeral server keeps no data; leave out data={data}", value=str(data))
    if fault := docker_fault():
        raise DockerError(f"the Docker engine does not answer: {fault}; start it, or use --es local or a URL")
    version = version or VERSION
    volume = None if ephemeral else volume_name(data)
    container = make_container(version, heap, port, volume)
    logger.info("starting container %s:%s%s", IMAGE, version, f", indices in volume {volume}" if volume else "")
    try:
        container.start()
        url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(PORT)}"
    except BaseException as error:
        tail = _logs(container)
        container.stop(delete_volume=False)
        if not isinstance(error, Exception):
            raise
        message = f"container {IMAGE}:{version} did not become ready: {error}; its last log lines:\n{tail}"
        raise DockerError(message) from error
    try:
        where = f"container {IMAGE}:{version}" + (f" with volume {volume}" if volume else "")
        yield check(Connection(url, "docker", f"{reason}: {where}"))
    finally:
        container.stop(delete_volume=False)


def _logs(container: Any, count: int = 20) -> str:
    try:
        out, err = container.get_logs()
    except Exception as error:  # noqa: BLE001  # only the log of a failure already being reported
        return f"(no log: {error})"
    return "\n".join((out + err).decode(errors="replace").splitlines()[-count:])
