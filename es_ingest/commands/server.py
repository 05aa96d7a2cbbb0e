"""``es-ingest server``: keep a local Elasticsearch over several commands."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from es_ingest.cluster.state import ServerState

NOT_RUNNING = 3
CLUSTER_FAULT = 5

app = typer.Typer(no_args_is_help=True, help="Start, watch and stop a local Elasticsearch server.")

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Data folder of the server (default: the one that --es local uses).", show_default=False
    ),
]


@app.command()
def start(
    data: Data = None,
    version: Annotated[
        str | None, typer.Option(help="Elasticsearch version (default: the best this JDK runs).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="HTTP port; 0: any free one (default: the first free from 9200)."),
    ] = None,
    heap: Annotated[str, typer.Option(help="Heap size, such as 512m or 2g.")] = "1g",
    wait: Annotated[float, typer.Option(min=1, help="Seconds it may take to become ready.")] = 90.0,
) -> None:
    """Start a server that stays until `es-ingest server stop`; if it runs already, say where."""
    with _cluster_errors():
        from es_ingest.cluster.local import start_kept
        from es_ingest.cluster.server import Wish

        state, started = start_kept(data, Wish(heap=heap, version=version, port=port, wait=wait))
    typer.echo(f"{'started' if started else 'already running:'} {_line(state)}")
    if not started and _differs(state, version, port, heap):
        typer.echo("options of this call were not applied; run `es-ingest server stop` first to change them", err=True)
    if data is not None:
        typer.echo(f"other commands find it by ES_URL={state.url}, as its data folder is not the usual one", err=True)


@app.command()
def status(
    data: Data = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say whether a server runs, and where; the exit status is 3 if none does."""
    with _cluster_errors():
        from es_ingest.cluster.local import find
        from es_ingest.cluster.server import health

        layout, state = find(data)
        colour = health(state.url) if state and state.url else ""
    if json:
        found: dict[str, Any] = {
            "running": state is not None,
            "url": state.url if state else None,
            "version": state.version if state else None,
            "pid": state.pid if state else None,
            "data": str(layout.root),
            "kept": state.kept if state else None,
            "owner": None if state is None or state.kept else state.owner,
            "heap": state.heap if state else None,
            "health": colour or None,
        }
        typer.echo(dumps(found))
    elif state is None:
        typer.echo(f"not running (data folder {layout.root})")
    else:
        kind = "" if state.kept else f"; temporary, ends with process {state.owner}"
        typer.echo(f"running {_line(state)}; health {colour or 'not answering'}{kind}")
    if state is None:
        raise typer.Exit(NOT_RUNNING)


@app.command()
def stop(data: Data = None) -> None:
    """Stop the server; its indices stay."""
    with _cluster_errors():
        from es_ingest.cluster.local import find, stop_kept

        stopped = stop_kept(data)
        layout, _ = find(data)
    typer.echo(f"stopped {_line(stopped)}" if stopped else f"no server is running on {layout.root}")


@app.command()
def logs(
    data: Data = None,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="How many lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until interrupted.")] = False,
) -> None:
    """Print the last lines of the server's log."""
    with _cluster_errors():
        from es_ingest.cluster.errors import ClusterError
        from es_ingest.cluster.local import find
        from es_ingest.cluster.server import log_tail

        layout, _ = find(data)
        if not layout.log.exists() and not layout.console.exists():
            raise ClusterError(f"no log in {layout.root}: no server has run there; look elsewhere with --data")
        size = layout.log.stat().st_size if layout.log.exists() else 0
        for line in log_tail(layout, count=lines):
            typer.echo(line)
        while follow:
            now = layout.log.stat().st_size if layout.log.exists() else 0
            if now != size:
                with layout.log.open("rb") as log:
                    log.seek(size if now > size else 0)  # smaller: the log was rolled over
                    text = log.read()
                size = (size if now > size else 0) + len(text)
                typer.echo(text.decode(errors="replace"), nl=False)
            time.sleep(0.5)


def _line(state: "ServerState") -> str:
    return f"Elasticsearch {state.version} at {state.url} (pid {state.pid}, data in {state.data})"


def _differs(state: "ServerState", version: str | None, port: int | None, heap: str) -> bool:
    wanted_port = bool(port) and not str(state.url).endswith(f":{port}")
    return wanted_port or version not in (None, state.version) or heap.lower() != state.heap


@contextmanager
def _cluster_errors() -> Iterator[None]:
    """Print what the cluster says to stderr, and its errors as one message with exit status 5."""
    from es_ingest.cluster.choose import check_platform
    from es_ingest.cluster.errors import ClusterError

    logger = logging.getLogger("es_ingest.cluster")
    handler = None
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        check_platform()
        yield
    except ClusterError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(CLUSTER_FAULT) from error
    finally:
        if handler:
            logger.removeHandler(handler)


if __name__ == "__main__":
    app()
