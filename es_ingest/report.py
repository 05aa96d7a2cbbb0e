"""Prints results on stdout: tables for people, one JSON object for programs."""

import json
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from es_ingest.ingest import Summary
from es_ingest.search import Hit

_SHOWN = 300  # characters of a passage


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
        "written": f"{summary.written:,} ({summary.created:,} new, {summary.updated:,} replaced)",
        "failed": f"{summary.failed:,} ({summary.malformed:,} malformed records, {summary.refused:,} refused chunks)",
        "tokens": f"{summary.tokens:,}",
        "truncated": f"{summary.truncated:,} chunks",
        "seconds": f"{summary.seconds:.1f} ({summary.encode_seconds:.1f} encoding)",
    }
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


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
    console = Console()
    if not hits:
        console.print("nothing found: the index holds no documents")
    for rank, hit in enumerate(hits, start=1):
        passage = " ".join(hit.content.split())
        passage = passage if len(passage) <= _SHOWN else passage[:_SHOWN].rsplit(" ", 1)[0] + " …"
        head = Text.assemble((f"{rank}. ", "bold"), (hit.title or hit.document_id, "bold"), f"  {hit.score:.3f}")
        where = "  ".join(str(hit.meta[name]) for name in ("source", "url") if hit.meta.get(name))
        console.print(head)
        console.print(Text(f"   {passage}"))
        console.print(Text(f"   {hit.document_id}, characters {hit.start}–{hit.end}  {where}", style="dim"))
