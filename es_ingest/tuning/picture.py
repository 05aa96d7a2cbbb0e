"""Draws recall against latency: in the terminal, and as SVG."""

from collections.abc import Sequence
from html import escape

from rich.text import Text

from es_ingest.tuning.axes import Axes, front
from es_ingest.tuning.measure import Measured
from es_ingest.tuning.tune import Tuning

# Readable on white and on black, and told apart by shape too: name -> colour in SVG, in the terminal, letter, outline.
_LOOKS = {
    "hnsw": ("#a371f7", "magenta", "h", "M0,-5 L5,0 L0,5 L-5,0 Z"),
    "int8": ("#2f81f7", "blue", "8", "M-4,-4 H4 V4 H-4 Z"),
    "int4": ("#1f9e5a", "green", "4", "M0,-5 L5,4 H-5 Z"),
    "bbq": ("#db6d28", "yellow", "b", "M0,-5 A5,5 0 1 1 0,5 A5,5 0 1 1 0,-5 Z"),
    "flat": ("#e5534b", "red", "f", "M0,5 L5,-4 H-5 Z"),
}
_OTHER = ("#7d8590", "white", "o", "M-5,-1 H-1 V-5 H1 V-1 H5 V1 H1 V5 H-1 V1 H-5 Z")
_GREY = "#7d8590"
_COLUMNS, _LINES = 64, 15
_WIDTH, _HEIGHT = 820, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 56, 84


def in_terminal(tuning: Tuning) -> Text:
    """Return a picture made of characters: a letter for each setting, a star for the recommended one."""
    points, wanted = tuning.settings, tuning.conditions.wanted_recall
    axes = Axes.around(points, wanted)
    cells: dict[tuple[int, int], tuple[str, str]] = {}
    line_wanted = _line(axes, wanted)
    for column in range(_COLUMNS):
        cells[line_wanted, column] = ("╌", "dim")
    for one in sorted(points, key=lambda one: one.recall):
        _, colour, letter, _ = _looks(one)
        cells[_line(axes, one.recall), _column(axes, one.p50_ms)] = (letter, colour)
    if best := tuning.recommended:
        cells[_line(axes, best.recall), _column(axes, best.p50_ms)] = ("★", f"bold {_looks(best)[1]}")
    labels = {_line(axes, tick): f"{tick:g}" for tick in axes.recalls} | {line_wanted: f"{wanted:g}"}
    text = Text(f"recall@{tuning.conditions.top_k}\n")
    for line in range(_LINES):
        text.append(f"{labels.get(line, ''):>6} │")
        for column in range(_COLUMNS):
            text.append(*cells.get((line, column), (" ", "")))
        text.append("\n")
    text.append(f"{'':7}└{'─' * _COLUMNS}\n{'':8}{_below(axes)}  median ms\n{'':8}")
    for kind in _kinds(points):
        _, colour, letter, _ = _LOOKS.get(kind, _OTHER)
        text.append(letter, colour).append(f" {kind}  ")
    text.append("╌ recall wanted" + ("  ★ recommended" if tuning.recommended else ""))
    return text


def svg(tuning: Tuning) -> str:
    """Return the picture as an SVG document; each point says its numbers when it is pointed at."""
    conditions, points = tuning.conditions, tuning.settings
    axes = Axes.around(points, conditions.wanted_recall)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif"'
        f' font-size="12" fill="{_GREY}">',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(conditions.index)}: recall@{conditions.top_k} of'
        f" {conditions.vectors:,} vectors against the median of {conditions.requests:,} requests</text>",
    ]
    for tick in axes.recalls:
        y = _y(axes, tick)
        parts.append(_stroke(f"M{_LEFT},{y:.1f} H{_WIDTH - _RIGHT}", _GREY, 'stroke-opacity="0.25"'))
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for time in axes.times:
        x = _x(axes, time)
        parts.append(_stroke(f"M{x:.1f},{_TOP} V{_HEIGHT - _BOTTOM}", _GREY, 'stroke-opacity="0.25"'))
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{time:g}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - _BOTTOM + 38}" text-anchor="middle">median latency (ms)</text>')
    parts.append(
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 18}" text-anchor="end" font-size="10">labels: oversampling,'
        " num_candidates</text>"
    )
    y = _y(axes, conditions.wanted_recall)
    parts.append(_stroke(f"M{_LEFT},{y:.1f} H{_WIDTH - _RIGHT}", _GREY, 'stroke-dasharray="6 4"'))
    x = float(_LEFT)
    for kind in _kinds(points):
        colour, _, _, outline = _LOOKS.get(kind, _OTHER)
        own = [one for one in points if one.setting.quantisation == kind]
        best_of_kind = front(own)
        along = " L".join(f"{_x(axes, one.p50_ms):.1f},{_y(axes, one.recall):.1f}" for one in best_of_kind)
        parts.append(_stroke(f"M{along}", colour))
        for one in best_of_kind:
            place = f'x="{_x(axes, one.p50_ms) + 8:.1f}" y="{_y(axes, one.recall) + 14:.1f}"'
            parts.append(f'<text {place} font-size="10" fill="{colour}">{_short(one)}</text>')
        for one in own:
            what = f"{one.setting}: recall {one.recall:.4f}, p50 {one.p50_ms:.2f} ms, p99 {one.p99_ms:.2f} ms"
            place = f"translate({_x(axes, one.p50_ms):.1f},{_y(axes, one.recall):.1f})"
            parts.append(
                f'<path d="{outline}" transform="{place}" fill="{colour}"><title>{escape(what)}</title></path>'
            )
        parts.append(f'<path d="{outline}" transform="translate({x + 6},{_HEIGHT - 22})" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="{_HEIGHT - 18}">{escape(kind)}</text>')
        x += 34 + 8 * len(kind)
    if best := tuning.recommended:
        at = f'cx="{_x(axes, best.p50_ms):.1f}" cy="{_y(axes, best.recall):.1f}"'
        parts.append(f'<circle {at} r="10" fill="none" stroke="{_looks(best)[0]}" stroke-width="2"/>')
        parts.append(f'<text x="{_LEFT}" y="40">recommended (ringed): {escape(str(best.setting))}</text>')
    else:
        parts.append(f'<text x="{_LEFT}" y="40">no setting reaches {conditions.wanted_recall:g}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _short(one: Measured) -> str:
    rescored = one.setting.rescored
    return f"{one.setting.num_candidates}" if rescored is None else f"{rescored:g}× {one.setting.num_candidates}"  # noqa: RUF001


def _looks(one: Measured) -> tuple[str, str, str, str]:
    return _LOOKS.get(one.setting.quantisation, _OTHER)


def _kinds(points: Sequence[Measured]) -> list[str]:
    return list(dict.fromkeys(one.setting.quantisation for one in points))


def _line(axes: Axes, recall: float) -> int:
    return round((1.0 - axes.up(recall)) * (_LINES - 1))


def _column(axes: Axes, p50_ms: float) -> int:
    return round(axes.across(p50_ms) * (_COLUMNS - 1))


def _below(axes: Axes) -> str:
    written = " " * (_COLUMNS + 8)
    free = 0
    for time in axes.times:
        label, start = f"{time:g}", _column(axes, time)
        if start >= free:
            written = written[:start] + label + written[start + len(label) :]
            free = start + len(label) + 1
    return written.rstrip()


def _x(axes: Axes, p50_ms: float) -> float:
    return _LEFT + axes.across(p50_ms) * (_WIDTH - _LEFT - _RIGHT)


def _y(axes: Axes, recall: float) -> float:
    return _TOP + (1.0 - axes.up(recall)) * (_HEIGHT - _TOP - _BOTTOM)


def _stroke(path: str, colour: str, more: str = "") -> str:
    return f'<path d="{path}" fill="none" stroke="{colour}" {more}/>'
