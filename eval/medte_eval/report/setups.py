"""Names systems with their models so that a reader can tell them apart."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from string import ascii_uppercase
from typing import Any

from medte_eval.report.model import Setup
from medte_eval.report.reading import Result
from medte_eval.report.terminal import short, system_name
from medte_eval.results import PREFIXES

_ORDER = ("encoder", "exact", "dense", "hybrid", "bm25")


def find_setups(results: Sequence[Result]) -> dict[str, Setup]:
    """Return every system with its model that there are results of.

    :returns: `Result.setup` to what it is, in the order of their marks.
    """
    firsts = {one.setup: one for one in results}
    names = {key: _names(one) for key, one in firsts.items()}
    several = {key: [other for other in names if names[other] == names[key]] for key in names}
    more = {key: _what_differs([firsts[other] for other in its], firsts[key]) for key, its in several.items()}
    found = {key: (f"{system}{more[key]}", model) for key, (system, model) in names.items()}
    ordered = sorted(found, key=lambda key: (found[key][1] or "~", _place(firsts[key]), found[key][0], key))
    return {
        key: Setup(mark, *found[key], settings=_settings(firsts[key]))
        for mark, key in zip(_marks(), ordered, strict=False)
    }


def _names(result: Result) -> tuple[str, str | None]:
    model = result.run.model.get("name")
    return system_name({"system": result.run.system}), PurePath(str(model)).name if model else None


def _what_differs(alike: Sequence[Result], own: Result) -> str:
    """Return the settings in which results of one name differ, where this one has them."""
    every = [_settings(one) for one in alike]
    mine = _settings(own)
    differing = [name for name in mine if len({json.dumps(one.get(name), sort_keys=True) for one in every}) > 1]
    told = [f"{name} {short(mine[name])[:40]}" for name in differing if mine[name] is not None and name not in PREFIXES]
    if set(PREFIXES) & set(differing):
        told.append("with prefixes" if any(map(mine.get, PREFIXES)) else "without prefixes")
    return "".join(f", {one}" for one in told)


def _settings(result: Result) -> Mapping[str, Any]:
    model = {("model" if name == "name" else name): value for name, value in result.run.model.items()}
    hashes = {name: str(model[name])[:12] for name in ("revision", "weights_sha256") if model.get(name)}
    system = {("system" if name == "name" else name): value for name, value in result.run.system.items()}
    return {**system, **model, **hashes}


def _place(result: Result) -> int:
    name = result.run.system.get("name")
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _marks() -> Iterator[str]:
    """Give A to Z, then AA, AB and so on."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(ascii_uppercase, repeat=length))
