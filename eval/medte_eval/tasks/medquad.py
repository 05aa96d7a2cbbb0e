"""MedQuAD retrieval without a language model: find the original answer of a question."""

from pathlib import Path
from typing import Any

from mteb.abstasks.task_metadata import TaskMetadata

from medte_eval.sources.medquad import read_medquad
from medte_eval.tasks.content import Judged
from medte_eval.tasks.retrieval import LocalRetrieval


class MedQuADRetrieval(LocalRetrieval):
    """Task 49 of the benchmark in its LLM-free variant.

    The benchmark's own task has answers reworded by a language model; with the original answers it is far easier, so
    results carry another name. A question's only relevant document is the answer of its own record, also where another
    record asks the same words and answers otherwise: 16,407 records ask 14,979 different questions.

    :param data: MedQuAD folder, .xml file or archive; None for the shipped sample.
    :param options: See `LocalRetrieval`.
    """

    metadata = TaskMetadata(
        name="MedQuADRetrieval.LLMFree",
        description="Question -> original answer: given a consumer health question of MedQuAD, find its own answer as"
        " published by the NIH. LLM-free variant of MedQuADRetrieval, whose answers are reworded by a language model.",
        dataset={"path": "abachaa/MedQuAD", "revision": "not loaded"},
        reference="https://github.com/abachaa/MedQuAD",
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
        date=("2017-01-01", "2019-10-22"),
        domains=["Medical", "Government", "Web", "Written"],
        task_subtypes=["Question answering"],
        license="cc-by-4.0",
        annotations_creators="derived",
        dialect=[],
        sample_creation="found",
        bibtex_citation=r"""
@article{BenAbacha-BMC-2019,
  author = {Ben Abacha, Asma and Demner-Fushman, Dina},
  title = {A Question-Entailment Approach to Question Answering},
  journal = {BMC Bioinformatics},
  volume = {20},
  number = {1},
  pages = {511:1--511:23},
  year = {2019},
}
""",
    )
    own_corpus = "the answer alone"

    def __init__(self, data: Path | None = None, **options: Any) -> None:
        self.source = data
        self.reduced = data is None
        super().__init__(**options)

    def read(self) -> Judged:
        """Read the pairs; a record without a question still is a document.

        :raises ReadError: If the source cannot be read.
        """
        found = read_medquad(self.source)
        asked = {f"question {pair.id}": pair for pair in found.pairs if pair.question}
        return Judged(
            corpus=[(pair.id, "", pair.answer) for pair in found.pairs],
            queries={query: pair.question for query, pair in asked.items()},
            relevant={query: {pair.id: 1} for query, pair in asked.items()},
            left_out=found.left_out,
        )
