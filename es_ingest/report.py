"""Prints results on stdout: tables for people, one JSON object for programs."""

import json
import textwrap
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.text import Text

from es_ingest.ingest import Summary
from es_ingest.search import Hit

_SHOWN = 300  # characters of a passage
_WIDTH = 100


def print_summary(summary: Summary, *, as_json: bool) -> None:
    """Print what a run did."""
    if as_json:
        typer.echo(json.dumps(summary.to_dict(), ensure_ascii=False))
        return
    made_by = summary.fingerprint
    rows = {
        "index": f"{summary.index} ({summary.quantisation})",
        "model": f"{made_by['model']} ({made_by['dim']} dimensions, analyzer {made_by['analyzer']})",
        "records read": f"{summary.read:,}",
        "chunks": f"{summary.chunks:,}",
        "written": f"{summary.written:,} ({summary.created:,} new, {summary.updated:,} replaced)"
        + (f", {summary.removed:,} that their records no longer have removed" if summary.removed else ""),
        "failed": f"{summary.failed:,} ({summary.malformed:,} malformed records, {summary.refused:,} refused chunks)",
        "tokens": f"{summary.tokens:,}",
        "truncated": f"{summary.truncated:,} chunks",
        "seconds": f"{summary.seconds:.1f} ({summary.encode_seconds:.1f} encoding)",
    }
    for name, value in rows.items():
        typer.echo(f"{name:14}{value}")


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
    console = Console(soft_wrap=True, highlight=False)
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
