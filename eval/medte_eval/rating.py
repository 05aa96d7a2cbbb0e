"""How good every query or text is, how similar every pair, read from the predictions that mteb writes of any system."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytrec_eval
from datasets import Dataset
from mteb.abstasks import AbsTask, AbsTaskClassification, AbsTaskPairClassification, AbsTaskRetrieval

from medte_eval.items import Items, Qrels, Run

_MEASURES = {"ndcg_at_10": "ndcg_cut_10", "recall_at_10": "recall_10", "recall_at_1": "recall_1"}


def read_items(task: AbsTask, predictions: Mapping[str, Any]) -> Items:
    """Return the parts of a result.

    :param task: The task, with its data.
    :param predictions: mteb's: subsets to splits to what was predicted.
    """
    parts = list(_parts(task, predictions))
    several = len(parts) > 1
    if isinstance(task, AbsTaskRetrieval):
        run: Run = {}
        qrels: Qrels = {}
        for place, found, data in parts:
            run |= {_named(place, query, several): scores for query, scores in found.items()}
            qrels |= {_named(place, query, several): dict(one) for query, one in data["relevant_docs"].items()}
        if getattr(task, "ignore_identical_ids", False):
            run = without_own(run)
        return Items(tuple(rate_queries(run, qrels)), run, qrels)
    rows: list[dict[str, Any]] = []
    for place, found, data in parts:
        if isinstance(task, AbsTaskPairClassification):
            both = zip(found["similarity_scores"], _labels(task, data), strict=True)
            rated: Iterator[dict[str, Any]] = ({"label": int(label), "similarity": float(one)} for one, label in both)
        elif isinstance(task, AbsTaskClassification) and not task.is_cross_validation:
            rated = _rate_texts(found, _labels(task, data))
        else:
            continue
        rows += [{**row, "id": _named(place, str(number), several)} for number, row in enumerate(rated)]
    return Items(tuple(rows))


def _parts(task: AbsTask, predictions: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Give each subset and split: its name, what was predicted, its data."""
    assert task.dataset is not None  # noqa: S101  it was run
    for subset, splits in predictions.items():
        if subset == "mteb_model_meta":
            continue
        for split, found in splits.items():
            data: Any = task.dataset
            data = data[split] if subset == "default" and subset not in data else data[subset][split]
            yield f"{subset}/{split}", found, data


def _named(place: str, name: str, several: bool) -> str:
    return f"{place}/{name}" if several else name


def _labels(task: Any, data: Dataset) -> list[Any]:
    if len(data) == 1 and isinstance(data[task.label_column_name][0], list):  # how mteb 1 stored pairs
        data = Dataset.from_dict(data[0])
    return list(data[task.label_column_name])


def without_own(run: Run) -> Run:
    """Return rankings without documents that have the query's id."""
    return {query: {one: score for one, score in its.items() if one != query} for query, its in run.items()}


def rate_queries(run: Run, qrels: Qrels) -> Iterator[dict[str, Any]]:
    """Rate every judged query as mteb does, which asks trec_eval too; what has no ranking gets 0."""
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.1,10", "recip_rank"})
    found = evaluator.evaluate({query: scores for query, scores in run.items() if query in qrels})
    for query in qrels:
        own = found.get(query, {})
        reciprocal = own.get("recip_rank", 0.0)
        rates = {name: own.get(theirs, 0.0) for name, theirs in _MEASURES.items()}
        yield {"id": query, **rates, "mrr_at_10": reciprocal if reciprocal >= 0.1 else 0.0}


def _rate_texts(experiments: Sequence[Sequence[Any]], labels: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Tell in how many of the experiments each text got its label."""
    right = np.mean([[one == label for one, label in zip(row, labels, strict=True)] for row in experiments], axis=0)
    for label, share in zip(labels, right, strict=True):
        yield {"label": label, "accuracy": float(share)}
