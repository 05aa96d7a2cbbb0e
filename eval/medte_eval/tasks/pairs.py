"""Pair classification on mteb's class, from local data."""

from datasets import Dataset, DatasetDict
from mteb.abstasks.pair_classification import AbsTaskPairClassification

from medte_eval.tasks.content import Paired
from medte_eval.tasks.task import LocalTask


class LocalPairs(LocalTask[Paired], AbsTaskPairClassification):
    """Pairs of texts that belong together or do not: the score is that of the best threshold of similarity."""

    def splits(self, content: Paired) -> DatasetDict:
        """Return the test split."""
        _, first, second, labels = (list(column) for column in zip(*content.pairs, strict=True))
        columns = {"sentence1": first, "sentence2": second, "labels": labels}
        return DatasetDict({"test": Dataset.from_dict(columns)})
