"""A task of each of five types on some hundred answers of the MedQuAD sample that ships with the project."""

from collections import defaultdict
from functools import cache
from itertools import islice
from typing import Any

from datasets import Dataset, DatasetDict
from mteb.abstasks import (
    AbsTask,
    AbsTaskClassification,
    AbsTaskClusteringLegacy,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
)
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData

from es_ingest.data import medquad_sample
from es_ingest.readers import read
from es_ingest.records import Record

from .small_tasks import Made, metadata

TYPES = ("information", "causes", "symptoms", "treatment", "outlook")
_DISEASES = 8  # of an institute
_OTHERS = 6  # answers to choose from beside those about the disease


@cache
def records() -> list[Record]:
    """Answers to questions of five types, about some diseases of each institute."""
    diseases: defaultdict[str, defaultdict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for one in read([str(medquad_sample())], "medquad"):
        if isinstance(one, Record) and one.meta["qtype"] in TYPES:
            diseases[one.meta["source"]][one.meta["document_id"]].append(one)
    return [
        record
        for its in diseases.values()
        for some in islice((some for some in its.values() if len(some) > 2), _DISEASES)
        for record in some
    ]


def same_disease(one: Record) -> list[Record]:
    return [other for other in records() if other.title == one.title and other is not one]


def columns(rows: list[Record], labels: list[int]) -> Dataset:
    return Dataset.from_dict({"text": [one.text for one in rows], "label": labels})


class Types(Made, AbsTaskClassification):
    """What was asked, by the answer."""

    metadata = metadata("MedQuADTypes", "Classification", "f1")
    samples_per_label = 6
    n_experiments = 4

    def data(self) -> DatasetDict:
        labels = [TYPES.index(one.meta["qtype"]) for one in records()]
        parts = {"train": slice(0, None, 2), "test": slice(1, None, 2)}
        return DatasetDict({name: columns(records()[part], labels[part]) for name, part in parts.items()})


class Institutes(Made, AbsTaskClusteringLegacy):
    """Answers by who gave them."""

    metadata = metadata("MedQuADInstitutes", "Clustering", "v_measure")

    def data(self) -> DatasetDict:
        texts, labels = [one.text for one in records()], [one.meta["source"] for one in records()]
        return DatasetDict({"test": Dataset.from_dict({"sentences": [texts], "labels": [labels]})})


class Answers(Made, AbsTaskPairClassification):
    """A question and its own answer, or that to another question about the disease."""

    metadata = metadata("MedQuADAnswers", "PairClassification", "similarity_f1")

    def data(self) -> DatasetDict:
        rows: dict[str, list[Any]] = {"sentence1": [], "sentence2": [], "labels": []}
        for one in records():
            for other, label in ((one, 1), (same_disease(one)[0], 0)):
                rows["sentence1"].append(one.meta["question"])
                rows["sentence2"].append(other.text)
                rows["labels"].append(label)
        return DatasetDict({"test": Dataset.from_dict(rows)})


class Questions(Made, AbsTaskRetrieval):
    """Which answer belongs to a question."""

    metadata = metadata("MedQuADQuestions", "Retrieval", "ndcg_at_10")
    k_values = (1, 3, 5, 10, 20)

    def data(self) -> dict[str, dict[str, RetrievalSplitData]]:
        ids, titles = [one.id for one in records()], [one.title for one in records()]
        corpus = {"id": ids, "title": titles, "text": [one.text for one in records()]}
        queries = {"id": ids, "text": [one.meta["question"] for one in records()]}
        split = RetrievalSplitData(
            corpus=Dataset.from_dict(corpus),
            queries=Dataset.from_dict(queries),
            relevant_docs={one: {one: 1} for one in ids},
            top_ranked=self.candidates(),
        )
        return {"default": {"test": split}}

    def candidates(self) -> dict[str, list[str]] | None:
        return None


class Choices(Questions):
    """The same among a few answers."""

    metadata = metadata("MedQuADChoices", "Reranking", "map_at_1000")
    k_values = (1, 10, 1000)

    def candidates(self) -> dict[str, list[str]] | None:
        every = records()
        near = {one.id: [one, *same_disease(one), *every[at % 7 :: 11][:_OTHERS]] for at, one in enumerate(every)}
        return {query: list(dict.fromkeys(one.id for one in some)) for query, some in near.items()}


TASKS: dict[str, type[AbsTask]] = {
    "classification": Types,
    "clustering": Institutes,
    "pair classification": Answers,
    "retrieval": Questions,
    "reranking": Choices,
}
