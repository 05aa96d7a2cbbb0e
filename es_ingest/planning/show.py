"""Prints a plan on stdout: figures and pictures for people, one JSON object for programs."""

import json
from collections.abc import Iterator

import typer
from rich.console import Console
from rich.text import Text

from es_ingest.planning.histogram import bars, bins
from es_ingest.planning.lengths import Lengths
from es_ingest.planning.plan import Plan, Times
from es_ingest.terminal import console_on

_WIDTH = 100
_BAR = 40
_INDENT = "  "


def print_plan(plan: Plan, *, as_json: bool) -> None:
    """Print a plan."""
    if as_json:
        typer.echo(json.dumps(plan.to_dict(), ensure_ascii=False))
        return
    console = console_on()
    with console.capture() as shown:
        for line in _lines(plan, console):
            console.print(line)
    typer.echo(shown.get(), nl=False)


def _lines(plan: Plan, console: Console) -> Iterator[str | Text]:
    yield from (f"{name:14}{value}" for name, value in _counts(plan))
    if not plan.chunks:
        return
    found = plan.survey
    for title, lengths in (("record", found.of_records), ("chunk", found.of_chunks)):
        yield ""
        yield Text(f"Tokens of a {title}", "bold")
        yield from _picture(lengths, plan.limit, console)
    yield ""
    yield from _sizes(plan)
    yield ""
    yield from _time(plan)


def _counts(plan: Plan) -> Iterator[tuple[str, str]]:
    found = plan.survey
    longer, truncated = found.of_records.over(plan.limit), found.of_chunks.over(plan.limit)
    yield "model", f"{plan.spec.hub_id or plan.spec.name}, {plan.spec.dim} dimensions, takes {plan.limit} tokens"
    yield "records", f"{found.records:,}" + ("" if found.complete else "; the sources have more, which were not read")
    yield "malformed", f"{found.malformed:,} rows" + (", first of them:" if found.malformed else "")
    yield from (("", f"{position}: {reason}") for position, reason in found.first_malformed)
    if found.refused:
        yield "refused", f"{found.refused:,} records, which cannot be stored"
    if found.deletions:
        yield "deletions", f"{found.deletions:,}; a run removes these records, wherever they came from"
    repeated, about = found.repeats.count, "" if found.repeats.exact else "about "
    yield "repeated ids", f"{about}{repeated:,}" + ("; the last record of each counts" if repeated else "")
    overlap = f" with {plan.splitter.overlap} of overlap" if plan.splitter.overlap else ""
    yield "chunks", f"{plan.chunks:,}, of at most {plan.splitter.chunk_tokens} tokens{overlap}"
    yield "tokens", f"{plan.tokens:,}"
    yield "text", f"{_bytes(found.text_bytes)} as JSON"
    if found.records:
        share = longer / found.records
        yield "too long", f"{longer:,} records ({share:.1%}) exceed the model; unsplit they would lose their end"
    if plan.chunks:
        yield "truncated", f"{truncated:,} chunks ({truncated / plan.chunks:.1%}) lose their end"


def _picture(lengths: Lengths, limit: int, console: Console) -> Iterator[str | Text]:
    blocks = _can_show("█▒", console.encoding)
    found = bins(lengths, limit)
    over = False
    for one, line in zip(found, bars(found, min(_BAR, console.width - 40), blocks=blocks), strict=True):
        if one.over and not over:
            over = True
            yield f"{_INDENT}above {limit:,}, what the model takes:"
        yield Text(_INDENT + line, "yellow" if one.over else "")
    figures = lengths.to_dict()
    yield _INDENT + "  ".join(f"{name} {value:,}" for name, value in figures.items())


def _sizes(plan: Plan) -> Iterator[str | Text]:
    every = f"{plan.copies} copies" if plan.copies > 1 else ""
    head = ("Index", "RAM", "disk") + ((f"RAM, {every}", f"disk, {every}") if every else ())
    yield Text(f"{head[0]:6}" + "".join(f"{name:>18}" for name in head[1:]), "bold")
    for size in plan.sizes:
        values = [size.ram, size.disk] + ([plan.copies * size.ram, plan.copies * size.disk] if every else [])
        yield f"{size.quantisation:6}" + "".join(f"{_bytes(value):>18}" for value in values)
    yield "RAM is page cache, outside of the Java heap; merging takes more disk for a while."
    yield f"Servers before 9.2 keep the vectors as JSON too: about {_bytes(plan.source_bytes)} more disk a copy."


def _time(plan: Plan) -> Iterator[str | Text]:
    found = plan.survey
    yield f"{'reading':14}{_duration(found.seconds)} to read, split and count it all, just now"
    if plan.speed is None or plan.encode_seconds is None or plan.run_seconds is None:
        return
    speed = plan.speed
    where = "all over the corpus" if found.complete else "the records read"
    yield f"{'encoding':14}{_span(plan.encode_seconds)} on {plan.device} in {plan.precision}"
    yield (
        f"{'':14}{speed.tokens_per_second:,.0f} tokens/s ({speed.slowest:,.0f} to {speed.fastest:,.0f}), measured for"
        f" {speed.seconds:.1f} s on chunks from {where}"
    )
    yield Text(f"{'a run':14}{_span(plan.run_seconds)}, where the server keeps up", "bold")


def _span(times: Times) -> str:
    expected, least, most = map(_duration, (times.expected, times.least, times.most))
    return expected if least == most else f"{expected} ({least} to {most})"


def _can_show(characters: str, encoding: str) -> bool:
    try:
        characters.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _bytes(number: int) -> str:
    """Return a size in the decimal units of disks."""
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.{0 if unit == 'B' else 2 if size < 10 else 1}f} {unit}"
        size /= 1000
    return f"{size:,.2f} TB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{minutes // 60:,} h {minutes % 60:02} min"
