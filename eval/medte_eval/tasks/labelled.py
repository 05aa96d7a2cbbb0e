"""Classification and clustering on mteb's classes, from local data."""

from typing import Any

from datasets import Dataset, DatasetDict
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.clustering_legacy import AbsTaskClusteringLegacy

from medte_eval.tasks.content import Labelled
from medte_eval.tasks.task import LocalTask


class LocalClassification(LocalTask[Labelled], AbsTaskClassification):
    """Texts with labels: mteb fits a logistic regression on 8 random training texts a class, ten times over."""

    def splits(self, content: Labelled) -> DatasetDict:
        """Return the training part and the test part."""
        return DatasetDict({name: Dataset.from_dict(_columns(rows)) for name, rows in content.splits.items()})


class LocalClustering(LocalTask[Labelled], AbsTaskClusteringLegacy):
    """Texts with labels, all in one set: mteb makes as many clusters as there are labels."""

    def splits(self, content: Labelled) -> DatasetDict:
        """Return the test split: one row with all texts and all labels."""
        columns = _columns(content.splits["test"])
        row = {"sentences": [columns["text"]], "labels": [columns["label"]]}
        return DatasetDict({"test": Dataset.from_dict(row)})


def _columns(rows: Any) -> dict[str, list[Any]]:
    return {"text": [text for _, text, _ in rows], "label": [label for _, _, label in rows]}
