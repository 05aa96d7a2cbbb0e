"""Small tasks of the types that need no documents, on made texts."""

from typing import Any

from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskClassification, AbsTaskClusteringLegacy, AbsTaskPairClassification
from mteb.abstasks.task_metadata import TaskMetadata

from .conftest import ASPECTS, CONDITIONS

TEXTS = [(answer.format(one), number) for one in CONDITIONS for number, answer in enumerate(ASPECTS.values())]


def metadata(name: str, kind: str, main_score: str) -> TaskMetadata:
    return TaskMetadata(
        name=name,
        description="A small task.",
        dataset={"path": f"made/{name}", "revision": "made-1"},
        type=kind,
        category="t2t" if kind in ("PairClassification", "Retrieval", "Reranking") else "t2c",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=main_score,
    )


class Made:
    """A task whose data is in memory; mteb never asks the hub."""

    dataset: Any
    data_loaded: bool

    def data(self) -> DatasetDict:
        raise NotImplementedError

    def load_data(self, *_: Any, **__: Any) -> None:
        self.dataset, self.data_loaded = self.data(), True

    def unload_data(self) -> None:
        self.dataset, self.data_loaded = {}, False


class Pairs(Made, AbsTaskPairClassification):
    """Question and answer of one disease, or of two different ones; some second texts come twice."""

    metadata = metadata("SmallPairs", "PairClassification", "similarity_f1")

    def data(self) -> DatasetDict:
        rows: dict[str, list[Any]] = {"sentence1": [], "sentence2": [], "labels": []}
        for number, one in enumerate(CONDITIONS):
            other = CONDITIONS[(number + 3) % len(CONDITIONS)]
            for question, answer in ASPECTS.items():
                for named, label in ((one, 1), (other, 0)):
                    rows["sentence1"].append(question.format(one))
                    rows["sentence2"].append(answer.format(named))
                    rows["labels"].append(label)
        rows["sentence2"][1] = "The weather was fine that day, so they went sailing."
        return DatasetDict({"test": Dataset.from_dict(rows)})


class Classification(Made, AbsTaskClassification):
    """Which aspect a text is about."""

    metadata = metadata("SmallClassification", "Classification", "f1")
    samples_per_label = 2
    n_experiments = 3

    def data(self) -> DatasetDict:
        parts = {"train": TEXTS[:15], "test": TEXTS[15:]}
        return DatasetDict(
            {
                name: Dataset.from_dict({"text": [one for one, _ in part], "label": [label for _, label in part]})
                for name, part in parts.items()
            }
        )


class Clustering(Made, AbsTaskClusteringLegacy):
    """Texts by their aspects."""

    metadata = metadata("SmallClustering", "Clustering", "v_measure")

    def data(self) -> DatasetDict:
        texts, labels = ([one for one, _ in TEXTS], [label for _, label in TEXTS])
        return DatasetDict({"test": Dataset.from_dict({"sentences": [texts], "labels": [labels]})})
