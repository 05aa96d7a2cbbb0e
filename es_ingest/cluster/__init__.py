"""Where Elasticsearch is: a URL, a Docker container, or a local server started for you.

with open_cluster("auto") as connection:
    print(connection.reason)
    client = connection.client()
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from es_ingest.cluster.choose import Choice, choose_server
from es_ingest.cluster.connection import Connection, check, connection_from_url, parse_url
from es_ingest.cluster.errors import (
    AlreadyRunningError,
    AuthenticationError,
    ClusterError,
    DockerError,
    DownloadError,
    FolderError,
    JdkNotFoundError,
    NoServerError,
    OptionError,
    PortInUseError,
    ServerDiedError,
    StartLockError,
)

__all__ = [
    "AlreadyRunningError",
    "AuthenticationError",
    "Choice",
    "ClusterError",
    "Connection",
    "DockerError",
    "DownloadError",
    "FolderError",
    "JdkNotFoundError",
    "NoServerError",
    "OptionError",
    "PortInUseError",
    "ServerDiedError",
    "StartLockError",
    "choose_server",
    "open_cluster",
    "parse_url",
]

logger = logging.getLogger("es_ingest.cluster")


@contextmanager
def open_cluster(
    es: str = "auto",
    *,
    data: Path | None = None,
    ephemeral: bool = False,
    heap: str | None = None,
    version: str | None = None,
    port: int | None = None,
    api_key: str | None = None,
    ca_certs: str | None = None,
    username: str | None = None,
    password: str | None = None,
) -> Iterator[Connection]:
    """Give a server that answers for the time of a ``with`` block, and end what was started for it.

    What was chosen and why goes to the logger ``es_ingest.cluster`` and is the connection's `reason`.

    :param es: ``auto``, ``docker``, ``local`` or a URL; see `choose_server`. A URL may hold user:password@.
    :param data: data folder of a local server, or name of a container's volume; None for the default one.
    :param ephemeral: start an empty server and keep nothing of it. A URL is used as it is.
    :param heap: heap of a server started here, such as 2g; else ``ES_INGEST_HEAP``, else 1g.
    :param version: Elasticsearch version of a server started here; None for the best one.
    :param port: HTTP port of a server started here; None or 0 for a free one.
    :param api_key: for a URL; else ``ES_API_KEY``.
    :param ca_certs: for a URL: file with certificates to trust; else ``ES_CA_CERTS``.
    :param username: for a URL; else ``ES_USERNAME``.
    :param password: for a URL; else ``ES_PASSWORD``.
    :raises ClusterError: one of its subclasses says what is wrong.
    """
    heap = os.environ.get("ES_INGEST_HEAP", "1g") if heap is None else heap
    choice = choose_server(es, os.environ, data=data, ephemeral=ephemeral)
    if choice.kind == "url":
        unchecked = connection_from_url(
            choice.url,
            os.environ,
            reason=choice.reason,
            api_key=api_key,
            ca_certs=ca_certs,
            username=username,
            password=password,
        )
        connection = check(unchecked)
        _announce(connection)
        yield connection
        return
    if choice.kind == "docker":
        from es_ingest.cluster.docker import docker_cluster

        cluster = docker_cluster(data, heap=heap, version=version, port=port, ephemeral=ephemeral, reason=choice.reason)
    else:
        from es_ingest.cluster.local import local_cluster
        from es_ingest.cluster.server import Wish

        wish = Wish(heap=heap, version=version, port=port or 0)
        cluster = local_cluster(data, wish, ephemeral=ephemeral, reason=choice.reason)
    with cluster as connection:
        _announce(connection)
        yield connection


def _announce(connection: Connection) -> None:
    version = connection.version or "of unknown version"
    logger.info("using Elasticsearch %s at %s (%s)", version, connection.url, connection.reason)
