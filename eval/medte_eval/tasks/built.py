"""Built tasks as mteb's: they load without their source."""

from pathlib import Path
from typing import Any, TypeVar, cast

from mteb.abstasks.task_metadata import TaskDomain, TaskMetadata

from medte_eval.tasks.benchmark import BENCHMARK
from medte_eval.tasks.benchmark.sources import SOURCES
from medte_eval.tasks.building.manifest import Manifest, read_manifest
from medte_eval.tasks.content import Content, Judged, Labelled, Paired, read_content
from medte_eval.tasks.labelled import LocalClassification, LocalClustering
from medte_eval.tasks.pairs import LocalPairs
from medte_eval.tasks.retrieval import LocalRetrieval
from medte_eval.tasks.task import LocalTask

C = TypeVar("C", bound=Content)


class BuiltTask(LocalTask[C]):
    """A task that was built into a folder.

    :param folder: Where it is.
    :param options: Those of the local task of its type.
    :raises ReadError: If its manifest cannot be read.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.reduced = (self.manifest.recipe.get("max_rows") or self.manifest.cap) < self.manifest.cap
        self.metadata = metadata_of(self.manifest)
        super().__init__(**options)

    def read(self) -> C:
        """Read the tables.

        :raises ReadError: If they are damaged, or not those that the manifest tells of.
        """
        content, _ = read_content(self.folder)
        return cast(C, content)  # the manifest's type chose the class of this task, too


class BuiltClassification(BuiltTask[Labelled], LocalClassification):
    """A built classification task."""


class BuiltClustering(BuiltTask[Labelled], LocalClustering):
    """A built clustering task."""


class BuiltPairs(BuiltTask[Paired], LocalPairs):
    """A built pair classification task."""


class BuiltRetrieval(BuiltTask[Judged], LocalRetrieval):
    """A built retrieval task."""

    own_corpus = "No title and the text"


def open_built(folder: Path, *, queries: int | None = None, top_k: int = 100) -> LocalTask[Any]:
    """Open a built task of any type.

    :param folder: Where it is.
    :param queries: Ask only so many random queries, if it is one of retrieval.
    :param top_k: Documents asked for a query, if it is one of retrieval.
    :raises ReadError: If its manifest cannot be read.
    """
    match read_manifest(folder).type:
        case "Classification":
            return BuiltClassification(folder)
        case "Clustering":
            return BuiltClustering(folder)
        case "PairClassification":
            return BuiltPairs(folder)
        case "Retrieval":
            return BuiltRetrieval(folder, queries=queries, top_k=top_k)


def metadata_of(manifest: Manifest) -> TaskMetadata:
    """Describe a built task to mteb, the hash of its data for a revision."""
    source = SOURCES[BENCHMARK[manifest.task].source]
    labelled = manifest.type in ("Classification", "Clustering")
    made = manifest.recipe.get("generator") is not None
    return TaskMetadata(
        name=manifest.name,
        description=manifest.description,
        dataset={"path": f"medteb/{manifest.name}", "revision": manifest.sha256},
        reference=manifest.reference,
        type=manifest.type,
        category="t2c" if labelled else "t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score=manifest.main_score,
        date=(manifest.built[:10], manifest.built[:10]),
        domains=cast(list[TaskDomain], list(source.domains)),
        task_subtypes=["Topic classification"] if labelled else ["Question answering"],
        license=source.mteb_licence,
        annotations_creators="LM-generated" if made else "derived",
        dialect=[],
        sample_creation="created" if made else "found",
        bibtex_citation="",
        is_public=source.public,
    )
