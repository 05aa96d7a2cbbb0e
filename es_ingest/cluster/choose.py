"""Decide where Elasticsearch is, from the one option ``--es``."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from es_ingest.cluster.connection import Kind
from es_ingest.cluster.errors import ClusterError, OptionError


@dataclass(frozen=True)
class Choice:
    """What was decided.

    :param kind: ``url``, ``docker`` or ``local``.
    :param reason: one line that says why.
    :param url: where `kind` is ``url``: as given, perhaps with credentials; never shown.
    """

    kind: Kind
    reason: str
    url: str = ""

    def __repr__(self) -> str:
        return f"Choice(kind={self.kind!r}, reason={self.reason!r})"


def choose_server(es: str, env: Mapping[str, str], *, data: Path | None = None, ephemeral: bool = False) -> Choice:
    """Decide which server to use.

    ``auto`` takes the first of: the URL in ``ES_URL``; a server kept by ``es-ingest server start`` on the data folder
    (not for an ephemeral one); Docker, if its engine answers; a local server.

    :param es: ``auto``, ``docker``, ``local`` or a URL.
    :param env: the environment.
    :param data: the data folder; None for the default one.
    :param ephemeral: whether only a fresh, empty server will do. A URL is still taken: it was named on purpose.
    :raises OptionError: if `es` is none of these.
    :raises ClusterError: if there is no way to run a local server here.
    """
    asked = es.strip()
    word = asked.lower()
    if word == "docker":
        return Choice("docker", "asked for docker")
    if word == "local":
        check_platform()
        return Choice("local", "asked for local")
    if word != "auto":
        if not asked:
            raise OptionError("--es is empty; give auto, docker, local or a URL", value=es)
        return Choice("url", "the URL given", asked)
    if url := env.get("ES_URL", "").strip():
        return Choice("url", "ES_URL is set", url)
    if not ephemeral and _keeps_server(data):
        return Choice("local", "no ES_URL; a local server is running")
    from es_ingest.cluster.docker import docker_fault

    if fault := docker_fault():
        check_platform(f"ES_URL is not set and Docker does not answer ({fault})")
        return Choice("local", "no ES_URL and no Docker engine answers")
    return Choice("docker", "no ES_URL, and the Docker engine answers")


def check_platform(context: str = "") -> None:
    """Refuse local servers on Windows.

    :param context: what else was tried.
    :raises ClusterError: on Windows.
    """
    if sys.platform == "win32":
        prefix = f"{context}; a" if context else "a"
        raise ClusterError(f"{prefix} local server does not run on Windows: use --es docker, or a URL")


def _keeps_server(data: Path | None) -> bool:
    if sys.platform == "win32":
        return False
    from es_ingest.cluster.local import find

    _, state = find(data)
    return state is not None and state.kept
