"""Draws speed by length of text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_GREY = "#7d8590"  # readable on white and on black
# colour, line style, marker; ours are full lines
_LINES = {
    "medte-int8": ("#1f9e5a", "-", "o"),
    "medte-bf16": ("#2f81f7", "-", "s"),
    "medte-fp32": ("#a371f7", "-", "^"),
    "medte-fp8": ("#1f9e5a", "-", "o"),
    "st-openvino-best": ("#db6d28", "--", "D"),
    "st-bf16-best": ("#e5534b", "--", "v"),
    "st-fp32-best": ("#c69026", "--", "P"),
    "st-fp32": (_GREY, "--", "X"),
}
WAYS = tuple(_LINES)
"""The ways that are drawn."""


def draw(run: Mapping[str, Any], title: str, path: Path) -> None:
    """Write the figure.

    :param run: What `by_length` returned.
    :param path: SVG, PNG or PDF, by its ending.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "medte", "font.size": 11}
    for name in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"):
        settings[name] = _GREY
    with mpl.rc_context(settings):
        figure = Figure(figsize=(8, 6), layout="constrained")
        axes = figure.add_subplot()
        points = _points(run)
        for way in sorted(points, key=lambda way: WAYS.index(way) if way in WAYS else len(WAYS)):
            label, lengths, speeds = points[way]
            colour, style, marker = _LINES.get(way, (_GREY, ":", "."))
            axes.plot(lengths, speeds, style, color=colour, marker=marker, label=label)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        ticks = [one["tokens"] / one["texts"] for one in run["sets"]]
        axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("length of a text (tokens)")
        axes.set_ylabel("speed (tokens per second)")
        figure.suptitle(title, fontsize=12)
        axes.grid(color=_GREY, alpha=0.25, which="both")
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, handlelength=3)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, transparent=True, metadata={"Date": None} if path.suffix == ".svg" else None)


def _points(run: Mapping[str, Any]) -> dict[str, tuple[str, list[float], list[float]]]:
    """Return label, lengths in tokens and tokens a second of each way that ran."""
    found: dict[str, tuple[str, list[float], list[float]]] = {}
    for one in run["sets"]:
        for row in one["rows"]:
            if row["not_run"] is None:
                _, lengths, speeds = found.setdefault(row["way"], (row["label"], [], []))
                lengths.append(one["tokens"] / one["texts"])
                speeds.append(row["tokens_per_second"])
    return found
