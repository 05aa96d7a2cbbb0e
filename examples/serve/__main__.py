"""Serve an index: a search page, a REST API with OpenAPI, and an MCP tool.

Run it:  python examples/serve

Without --index it serves MedQuAD's sample, which it ingests first if need be; without --es it finds a server as
`es-ingest` does, or starts one that ends with it.
"""

import os
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from es_ingest.commands import options as given
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch
    from fastapi import FastAPI
    from rich.console import Console

    from es_ingest.cluster import Connection

SAMPLE_INDEX = "medquad-demo"  # that of `es-ingest demo`
SAMPLE_MODEL = "minilm"  # needs no hub
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    es: given.Es = "auto",
    index: Annotated[
        str | None, typer.Option(help="Index to serve (default: MedQuAD's sample, which is made if it is missing).")
    ] = None,
    model: given.Model = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. There is no login: put a proxy before any but the default.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any free one.")] = 1416,
    quiet: given.Quiet = False,
) -> None:
    """Serve an index: a search page, a REST API with OpenAPI, and an MCP tool for agents. Ctrl-C ends it."""
    os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")  # what is searched here is nobody else's business
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = notes_to_stderr(quiet)
    with reported(interrupted="what is indexed stays"):
        from es_ingest.cluster import open_cluster
        from medte_haystack import MedTETextEmbedder

        listener = _listener(host, port)
        with listener, open_cluster(es) as connection:
            with connection.client() as client:
                if index is None:
                    index = SAMPLE_INDEX
                    _ensure_sample(client, model or SAMPLE_MODEL, console, quiet=quiet)
                model = _model_of(client, index, model)
            MedTETextEmbedder(model=model).warm_up()  # the pipelines share it; a fault shows here, not in the server
            _hand_over(connection, index, model)
            from application import create_application

            hosts = LOOPBACK if host in LOOPBACK else ["*"]
            with suppress(KeyboardInterrupt):
                _run(create_application([_in_url(one) for one in hosts]), listener, index)


def _listener(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address: that it is taken shows before minutes of preparation."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise typer.BadParameter(
            f"{host} port {port} cannot be used: {error.strerror}; choose another --port"
        ) from None
    return found


def _ensure_sample(client: "Elasticsearch", model: str, console: "Console", *, quiet: bool) -> None:
    from es_ingest.data import medquad_sample
    from es_ingest.ingest import Ingester
    from es_ingest.progress import shown
    from es_ingest.readers import read
    from es_ingest.records import Record
    from medte_haystack.encoder import Encoder
    from medte_haystack.index.contract import CHUNK_INDEX

    records = [item for item in read([str(medquad_sample())], "medquad") if isinstance(item, Record)]
    if client.indices.exists(index=SAMPLE_INDEX):
        there = client.count(index=SAMPLE_INDEX, query={"term": {CHUNK_INDEX: 0}})["count"]
        if there >= len(records):
            return
    typer.echo(f"indexing the {len(records):,} answers of MedQuAD's sample: some minutes, once", err=True)
    with shown(console, quiet=quiet) as progress:
        Ingester(client, SAMPLE_INDEX, Encoder.load(model)).run(records, progress)


def _model_of(client: "Elasticsearch", index: str, wanted: str | None) -> str:
    """Return the model for the queries: the index's own, unless it does not say which that is.

    :raises IndexMissingError: If there is no such index.
    :raises FingerprintMismatchError: If another one is wanted.
    """
    from es_ingest.search import model_for
    from medte_haystack.index import describe_index, run

    if wanted is not None and run(client, describe_index(index)).fingerprint is None:
        return wanted  # an index of a stock store
    return model_for(client, index, wanted)


def _hand_over(connection: "Connection", index: str, model: str) -> None:
    """Tell the pipeline wrapper, which hayhooks makes without arguments, where the index is."""
    user, password = connection.basic_auth or (None, None)
    told = {
        "ES_URL": connection.url,
        "ES_API_KEY": connection.api_key,
        "ES_USERNAME": user,
        "ES_PASSWORD": password,
        "ES_CA_CERTS": connection.ca_certs,
        "SEARCH_INDEX": index,
        "SEARCH_MODEL": model,
    }
    for name, value in told.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def _run(app: "FastAPI", listener: socket.socket, index: str) -> None:
    import uvicorn
    from hayhooks import log
    from hayhooks.server.logger import formatter

    # Queries and what they find stay out of the log: no parameters, no values of variables in tracebacks, no addresses,
    # no messages to agents, which name what they asked for.
    silent = {"hayhooks.server.utils.mcp_utils": False}
    shown = {"format": formatter, "filter": silent, "diagnose": False, "backtrace": False}
    sink = {"sink": sys.stderr, "level": "WARNING", **shown}
    log.configure(handlers=[sink], patcher=lambda record: record["extra"].pop("params", None))

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                _tell_address(listener, index)

    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=3)
    Server(config).run(sockets=[listener])


def _tell_address(listener: socket.socket, index: str) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://{_in_url(host)}:{port}"
    typer.echo(f"Search page of {index}:  {url}/\nREST:  {url}/search/run  ({url}/openapi.json)\nMCP:   {url}/mcp")
    sys.stdout.flush()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    typer.run(serve)
