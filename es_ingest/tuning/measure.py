"""Asks every setting the queries, one request at a time and in turns, and notes what came back and when."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from es_ingest.tuning import exact
from es_ingest.tuning.copies import Copy
from es_ingest.tuning.grid import Setting
from es_ingest.tuning.sample import Tell
from medte_haystack.index import knn_body

LEAST_REQUESTS = 200  # a setting: below, a 99th percentile is a guess; few queries are asked more than once
_WARM_UP = 20
_SEED = 42


@dataclass(frozen=True, slots=True)
class Measured:
    """A setting and what it gave.

    :param recall: Mean over the queries of the share of the k nearest that was found.
    :param recall_error: Standard error of that mean.
    :param p50_ms: Median time of a request, as the client sees it, in milliseconds.
    :param p99_ms: Its 99th percentile.
    """

    setting: Setting
    recall: float
    recall_error: float
    p50_ms: float
    p99_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as it is printed for programs."""
        return {
            "quantisation": self.setting.quantisation,
            "oversampling": self.setting.rescored,
            "num_candidates": self.setting.num_candidates,
            "recall": round(self.recall, 5),
            "recall_error": round(self.recall_error, 5),
            "p50_ms": round(self.p50_ms, 3),
            "p99_ms": round(self.p99_ms, 3),
        }


def requests_a_setting(queries: int) -> int:
    """Return how many timed requests each setting gets."""
    return max(queries, LEAST_REQUESTS)


def measure(
    client: Elasticsearch,
    settings: Sequence[Setting],
    made: Mapping[str, Copy],
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    *,
    top_k: int,
    tell: Tell,
) -> list[Measured]:
    """Measure settings side by side.

    In each round every setting is asked once, in random order and each another query, so that none finds the server
    warmer or busier than the others. The first rounds are not counted.

    :param made: The indices by quantisation.
    :param vectors: What they hold, by row, shape (n, dim).
    :param queries: Shape (q, dim).
    :param top_k: Hits a query.
    :returns: As `settings`, in their order.
    """
    once = client.options(max_retries=0)
    _, nearest = exact.nearest(queries, vectors, top_k)
    rounds = requests_a_setting(len(queries))
    recalls, seconds = np.zeros((len(settings), len(queries))), np.zeros((len(settings), rounds))
    order, chance = list(range(len(settings))), random.Random(_SEED)  # noqa: S311  a repeatable order
    for number in range(-_WARM_UP, rounds):
        tell("measuring", max(0, number), rounds)
        chance.shuffle(order)
        for one in order:
            setting, asked = settings[one], (number + one) % len(queries)
            body = knn_body(
                queries[asked], top_k=top_k, num_candidates=setting.num_candidates, oversampling=setting.rescored
            )
            started = time.perf_counter()
            answer = once.search(index=made[setting.quantisation].index, body={**body, "_source": False})
            if number < 0:
                continue
            seconds[one, number] = time.perf_counter() - started
            if number < len(queries):
                rows = [int(hit["_id"]) for hit in answer["hits"]["hits"]]
                recalls[one, asked] = exact.recall(rows, queries[asked], vectors, nearest[asked, -1], top_k)
    errors = recalls.std(axis=1) / np.sqrt(len(queries))
    middle, slow = np.percentile(seconds * 1000, [50, 99], axis=1)
    columns = (recalls.mean(axis=1), errors, middle, slow)
    return [Measured(setting, *map(float, row)) for setting, *row in zip(settings, *columns, strict=True)]
