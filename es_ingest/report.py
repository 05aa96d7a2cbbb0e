"""Prints results on stdout: tables for people, one JSON object for programs."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.text import Text

from es_ingest.faults import message_of
from es_ingest.indices.rebuild import Rebuilt
from es_ingest.indices.switch import Switch
from es_ingest.indices.verify import Verification
from es_ingest.search import Hit
from es_ingest.stream.summary import Summary
from es_ingest.terminal import console_on

_SHOWN = 300  # characters of a passage
_WIDTH = 100


@dataclass(slots=True)
class Account:
    """What is to be told of a run at its end.

    :param summary: What it did; None before it has begun.
    :param switch: What became of the alias that the index was built for.
    """

    summary: Summary | None = None
    switch: Switch | None = None

    def take(self, summary: Summary) -> None:
        """Take the summary as it is now, as `RunOptions.watch` does."""
        self.summary = summary


@contextmanager
def accounted(*, as_json: bool) -> Iterator[Account]:
    """Print what a run did at the end of a ``with`` block, whatever ends it.

    After an error the table goes to stderr, before the error's own message; JSON goes to stdout as ever, and holds the
    message as `error`.
    """
    account = Account()
    try:
        yield account
    except BaseException as error:
        if account.summary is not None:
            print_summary(account.summary, account.switch, as_json=as_json, error=message_of(error))
        raise
    if account.summary is not None:
        print_summary(account.summary, account.switch, as_json=as_json)


def print_summary(summary: Summary, switch: Switch | None = None, *, as_json: bool, error: str | None = None) -> None:
    """Print what a run did.

    :param switch: What became of the alias that the index was built for.
    :param error: What ended it early.
    """
    if as_json:
        told = {**summary.to_dict(), "switch": switch.to_dict() if switch else None, "error": error}
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    made_by = summary.fingerprint
    rows = {
        "index": f"{summary.index} ({summary.quantisation})",
        "model": f"{made_by['model']} ({made_by['dim']} dimensions, analyzer {made_by['analyzer']})",
        "records read": f"{summary.read:,} ({summary.unchanged:,} unchanged, {summary.records:,} written)",
        "chunks": f"{summary.chunks:,}",
        "written": f"{summary.written:,} ({summary.created:,} new, {summary.updated:,} replaced)"
        + (f", {summary.removed:,} removed" if summary.removed else ""),
        "failed": f"{summary.failed:,} ({summary.malformed:,} malformed, {summary.refused:,} refused)"
        + (f", kept in {summary.dead_letters}" if summary.dead_letters else ""),
        "tokens": f"{summary.tokens:,}",
        "truncated": f"{summary.truncated:,} chunks",
        "seconds": f"{summary.seconds:.1f}",
    }
    if summary.encoder_busy is not None:
        rows["seconds"] += f" ({summary.encode_seconds:.1f} encoding; the encoder was busy {summary.encoder_busy:.0%})"
    if summary.interrupted:
        rows["interrupted"] = "before the sources' end; the same command again goes on"
    if summary.missing:
        rows["missing"] = f"{summary.missing:,} records that the sources no longer have were removed"
    if summary.deleted:
        rows["deleted"] = f"{summary.deleted:,} records that the sources say are no more were removed"
    if switch:
        rows["alias"] = switched(switch)
    for name, value in rows.items():
        typer.echo(f"{name:14}{value}", err=error is not None)


def print_rebuilt(done: Rebuilt, *, as_json: bool) -> None:
    """Print what a rebuild did."""
    if as_json:
        typer.echo(json.dumps(done.to_dict(), ensure_ascii=False))
        return
    rows = {
        "index": f"{done.index} ({done.quantisation}, analyzer {done.analyzer})",
        "made of": done.source,
        "documents": f"{done.copied:,} copied" + (f", {done.documents:,} in all" if done.verification else ""),
        "seconds": f"{done.seconds:.1f}",
    }
    if done.switch:
        rows["alias"] = switched(done.switch)
    for name, value in rows.items():
        typer.echo(f"{name:14}{value}")


def print_switch(switch: Switch, *, as_json: bool) -> None:
    """Print what became of an alias."""
    typer.echo(json.dumps(switch.to_dict(), ensure_ascii=False) if as_json else f"{'alias':14}{switched(switch)}")


def switched(switch: Switch) -> str:
    """Return in words what became of an alias."""
    deleted = f"; deleted {', '.join(switch.deleted)}" if switch.deleted else ""
    return f"{switch.alias}: {switch.before or 'new'} -> {switch.after}{deleted}"


def print_verification(found: Verification, *, as_json: bool) -> None:
    """Print what was looked at and what was found."""
    if as_json:
        typer.echo(json.dumps(found.to_dict(), ensure_ascii=False))
        return
    ledger = "not here: chunks were compared with each other alone"
    if found.ledger:
        ledger = f"{found.ledger_records:,} records, {found.ledger_chunks:,} chunks ({found.ledger})"
    vectors = f"{found.sampled:,} read back"
    if found.lowest_cosine is not None:
        vectors += f", {found.expected}: lowest cosine {found.lowest_cosine:.5f}, {found.least_cosine:.6g} is enough"
    rows = {
        "index": f"{found.records:,} records, {found.chunks:,} chunks ({found.index})",
        "ledger": ledger,
        "vectors": vectors,
    }
    if found.graph != "whole":
        rows["graph"] = "being built by the server; until it is there, searches compare with every vector"
    if found.not_checked:
        rows["not checked"] = f"what the vectors should be: {found.not_checked}"
    for name, value in rows.items():
        typer.echo(f"{name:14}{value}")
    for finding in found.findings:
        typer.echo(f"{'wrong':14}{finding}")
    typer.echo(f"{'verified':14}{'all holds' if found.holds else 'no'} ({found.seconds:.1f} s)")


def print_hits(index: str, query: str, hits: Sequence[Hit], *, as_json: bool) -> None:
    """Print what was found."""
    if as_json:
        found = [
            {
                "rank": rank,
                "document_id": hit.document_id,
                "score": round(hit.score, 6),
                "title": hit.title,
                "content": hit.content,
                "chunk_id": hit.chunk_id,
                "chunk_index": hit.chunk_index,
                "chunk_start": hit.start,
                "chunk_end": hit.end,
                "meta": dict(hit.meta),
            }
            for rank, hit in enumerate(hits, start=1)
        ]
        typer.echo(json.dumps({"index": index, "query": query, "hits": found}, ensure_ascii=False))
        return
    console = console_on()
    width = min(console.width, _WIDTH)
    with console.capture() as shown:
        _show_hits(console, hits, width)
    typer.echo(shown.get(), nl=False)  # rich would end the process itself when the pipe is closed


def _show_hits(console: Console, hits: Sequence[Hit], width: int) -> None:
    if not hits:
        console.print("nothing found: the index holds no documents")
    for rank, hit in enumerate(hits, start=1):
        title = hit.title or hit.document_id
        console.print(Text.assemble((f"{rank}. {title}", "bold"), f"  {hit.score:.3f}"))
        passage = textwrap.shorten(hit.content, _SHOWN, placeholder=" …")
        console.print(Text(textwrap.fill(passage, width, initial_indent="   ", subsequent_indent="   ")))
        where = [f"{hit.document_id}, characters {hit.start} to {hit.end}"]
        where += [str(hit.meta[name]) for name in ("source", "url") if hit.meta.get(name)]
        console.print(Text("   " + "  ".join(where), style="dim"))
