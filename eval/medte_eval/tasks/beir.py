"""Any BEIR folder as a task."""

from pathlib import Path
from typing import Any

from mteb.abstasks.task_metadata import TaskMetadata

from medte_eval.sources.beir import BeirSet, read_beir
from medte_eval.tasks.content import Judged
from medte_eval.tasks.retrieval import LocalRetrieval


class BeirRetrieval(LocalRetrieval):
    """The test split of a BEIR data set; results carry the folder's name.

    Where queries are documents themselves, as in ArguAna, what is found under a query's own id does not count, as in
    BEIR's evaluation and mteb's task. Ids that are equal by chance do.

    :param folder: Holds `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`, each plain or .gz.
    :param options: See `LocalRetrieval`.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        name = folder.resolve().name
        self.metadata = TaskMetadata(
            name=name,
            description=f"BEIR data set in the folder {name}, test split: title and text of the documents.",
            dataset={"path": f"beir/{name}", "revision": "not loaded"},
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )
        super().__init__(**options)

    def read(self) -> Judged:
        """Read the folder.

        :raises ReadError: If a part of it is missing or unreadable.
        """
        found = read_beir(self.folder)
        self.ignore_identical_ids = _asks_with_documents(found)
        return Judged(
            corpus=[(record.id, record.title, record.text) for record in found.corpus],
            queries=found.queries,
            relevant=found.relevant,
            left_out=found.left_out,
        )


def _asks_with_documents(data: BeirSet) -> bool:
    """Tell whether queries are texts of documents under the same ids, none of which is judged relevant to itself."""
    if any(grades.get(query, 0) > 0 for query, grades in data.relevant.items()):
        return False
    asked = {query: text.split() for query, text in data.queries.items()}
    return any(
        (words := asked.get(one.id)) and words in (one.text.split(), [*one.title.split(), *one.text.split()])
        for one in data.corpus
    )
