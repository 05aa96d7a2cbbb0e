"""Clustering of abstracts: k-means with as many clusters as classes, five times over, by V-measure.

V-measure: Rosenberg and Hirschberg, 2007, https://aclanthology.org/D07-1043. Two models are compared by a bootstrap
over the texts, with the clusters that were found of all of them: 95 % interval and two-sided p. The chance of k-means
and of training is not in them: for the latter compare several seeds.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import v_measure_score  # type: ignore[import-untyped]

TASK = "AbstractsClustering"
RUNS = 5
_RESAMPLES = 999
_SEED = 42


def cluster(
    model: str, texts: list[str], labels: list[str], max_tokens: int, precision: str, path: Path
) -> dict[str, Any]:
    """Return the V-measures of a model's clusters and the clusters, kept in a file.

    :param model: Registry name or folder.
    :param labels: Classes of the texts.
    :param max_tokens: Longest text in tokens.
    :param precision: Of the vectors, as `Encoder.load` takes it.
    """
    from sklearn.cluster import KMeans  # type: ignore[import-untyped]

    from medte_haystack.encoder import Encoder

    encoder = Encoder.load(model, max_tokens=max_tokens, precision=precision)
    given = json.dumps([encoder.weights_sha256, max_tokens, precision, texts, labels])
    key = hashlib.sha256(given.encode()).hexdigest()
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if found["sha256"] == key:
            return found
    vectors = np.asarray(encoder.encode(texts))
    count = len(set(labels))
    runs = [KMeans(count, n_init=10, random_state=seed).fit_predict(vectors).tolist() for seed in range(RUNS)]
    scores = [float(v_measure_score(labels, run)) for run in runs]
    found = {
        "sha256": key,
        "v_measure": float(np.mean(scores)),
        "each": scores,
        "clusters": runs,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return found


def compare(labels: list[str], a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Compare two models' clusters, the fields as `medte-eval compare` has them: the difference is `b` less `a`."""
    draw = np.random.default_rng(_SEED)
    known = np.unique(labels, return_inverse=True)[1]
    ours, theirs = np.array(b["clusters"]), np.array(a["clusters"])
    differences = np.empty(_RESAMPLES)
    for number in range(_RESAMPLES):
        rows = draw.integers(len(known), size=len(known))
        differences[number] = _mean(known[rows], ours[:, rows]) - _mean(known[rows], theirs[:, rows])
    beyond = 1 + min((differences <= 0).sum(), (differences >= 0).sum())
    return {
        "task": TASK,
        "measure": "v_measure",
        "items": len(known),
        "a": a["v_measure"],
        "b": b["v_measure"],
        "difference": b["v_measure"] - a["v_measure"],
        "low": float(np.quantile(differences, 0.025)),
        "high": float(np.quantile(differences, 0.975)),
        "p": float(min(1.0, 2 * beyond / (_RESAMPLES + 1))),
    }


def _mean(labels: NDArray[np.int64], runs: NDArray[np.int64]) -> float:
    return float(np.mean([v_measure_score(labels, run) for run in runs]))
