"""How long one query takes when it is asked alone, measured beside quality."""

import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from medte_eval.systems.system import System

_WARM_UP = 5


def measure_latency(system: System, texts: Sequence[str], top_k: int, number: int, seed: int) -> dict[str, Any] | None:
    """Ask some queries one after the other and return how long they took, from text to documents.

    :param system: One that has run the task of these queries.
    :param texts: The task's queries.
    :param top_k: Documents asked for: as many as in the searches that were scored, since fewer are another search, with
        fewer candidates and another window of fusion.
    :param number: How many queries to ask, drawn at random; 0 measures nothing.
    :param seed: Of the draw.
    :returns: ``timed``, ``queries``, ``top_k``, ``p50_ms``, ``p99_ms``, ``queries_per_second``; None if nothing is
        measured.
    """
    texts = [text for text in texts if text.strip()]
    if not number or not texts:
        return None
    sample = random.Random(seed).sample(texts, min(number, len(texts)))  # noqa: S311  a repeatable sample
    for text in sample[:_WARM_UP]:
        system.answer(text, top_k)
    seconds = []
    for text in sample:
        started = time.perf_counter()
        system.answer(text, top_k)
        seconds.append(time.perf_counter() - started)
    p50, p99 = (round(1000 * float(one), 3) for one in np.percentile(seconds, [50, 99]))
    return {
        "timed": system.timed,
        "queries": len(sample),
        "top_k": top_k,
        "p50_ms": p50,
        "p99_ms": p99,
        "queries_per_second": round(len(sample) / sum(seconds), 2),
    }
