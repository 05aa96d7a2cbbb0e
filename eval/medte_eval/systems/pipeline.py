"""Any Haystack query pipeline, as its YAML file describes it."""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from haystack import Document, Pipeline
from haystack.core.errors import ComponentDeserializationError, DeserializationError, PipelineError

import medte_haystack  # noqa: F401  makes Haystack trust its classes
from es_ingest.cluster import Connection
from medte_eval.systems import OWN_STORES, UnknownSystemError
from medte_eval.systems.corpus import Corpus, CorpusIndex
from medte_eval.systems.pipeline_file import read_pipeline
from medte_eval.systems.searching import Scores, SearchSystem
from medte_eval.systems.system import ShowProgress, silent
from medte_haystack.index.contract import PARENT_ID

_QUESTIONS = ("query", "text", "question")
"""Inputs that get the query."""
_STORES = ("MedTEDocumentStore", "ElasticsearchDocumentStore")
_BY_WORDS = "ElasticsearchBM25Retriever"


class PipelineSystem(SearchSystem):
    """A serialised Haystack pipeline that takes a text and gives Documents; run for one query after the other.

    The query goes to every input called ``query``, ``text`` or ``question`` that nothing is connected to; the ranking
    is the one output ``documents`` that leads nowhere, of which as many come back as the file says. A Document stands
    for the document in its metadata's ``parent_id``, otherwise for its own id, and counts where it comes first.

    One whose stores are all searched by words alone is a system without a model, whatever vectors the index has.

    :param file: The pipeline's YAML.
    :param index: Index of the task's corpus.
    :param connection: The server. Every Elasticsearch store of the pipeline is pointed at it and at the task's index;
        None leaves the stores as the file has them.
    :param show: Shows how far encoding is, where nothing is indexed.
    :raises UnknownSystemError: If the file cannot be read, or is no such pipeline.
    """

    def __init__(
        self,
        file: Path,
        index: CorpusIndex,
        connection: Connection | None = None,
        show: ShowProgress = silent,
    ) -> None:
        self.name = f"pipeline:{file.name}"
        self._file, self._connection = file, connection
        self._description = read_pipeline(file)
        self._most: int | None = None
        searching = [kind for kind, _ in _stores(self._description)]
        if connection is not None and not searching:
            raise self._no_such("it has no Elasticsearch document store to point at the task's index")
        self._by_words = connection is not None and set(searching) == {_BY_WORDS}
        super().__init__(index, None if self._by_words else index.encoder, show)
        if self._by_words:
            self.timed = "search"
        self._pipeline = self._load("not-made-yet")
        inputs = self._pipeline.inputs()
        self._asked = {name: [one for one in _QUESTIONS if one in its] for name, its in inputs.items()}
        if not any(self._asked.values()):
            raise self._no_such(f"no input is free for the query ({', '.join(_QUESTIONS)})")
        for name, its in inputs.items():
            if more := [one for one, its in its.items() if its["is_mandatory"] and one not in _QUESTIONS]:
                raise self._no_such(f"its component {name!r} also wants {', '.join(more)}")
        outputs = [name for name, its in self._pipeline.outputs().items() if "documents" in its]
        if len(outputs) != 1:
            raise self._no_such(f"one output 'documents' must lead nowhere, there are {len(outputs)}")
        (self._ranking,) = outputs
        given = self._pipeline.outputs(include_components_with_connected_outputs=True)
        self._filtered = [name for name, its in inputs.items() if "filters" in its and "documents" in given[name]]

    def settings(self) -> dict[str, Any]:
        """Return how the index is made, and the pipeline as a hash; what is in stores of its own is not known."""
        text = yaml.safe_dump(self._description, sort_keys=True)
        own = {"pipeline_sha256": hashlib.sha256(text.encode()).hexdigest(), OWN_STORES: self._connection is None}
        if self._connection is None:
            return own
        return {**super().settings(), **({"index_options": None} if self._by_words else {}), **own}

    def begin(self) -> None:
        """Forget the task before."""
        super().begin()
        self._most = None

    def details(self) -> dict[str, Any]:
        """Return what the index has become, and how many documents a query had at most."""
        found = super().details()
        return found if self._most is None else {**found, "top_k": self._most}

    def refusal(self, task_type: str) -> str | None:
        """Return why it cannot run a type of tasks: one that wants certain documents scored, without filters."""
        refused = super().refusal(task_type)
        filters = self._filtered and self._connection is not None
        if refused is None and task_type in ("PairClassification", "Reranking") and not filters:
            return (
                f"{task_type} asks for the score of certain documents; {self.name} needs a retriever with a free input"
                " 'filters', and the task's index"
            )
        return refused

    def index(self, corpus: Corpus, **mteb: Any) -> None:
        """Make the corpus searchable and point the pipeline at it; see :meth:`SearchSystem.index`."""
        if self._connection is None:
            return
        super().index(corpus, **mteb)
        assert self._target is not None  # noqa: S101  the line above made it
        self._pipeline.close()
        self._pipeline = self._load(self._target.index)

    def scoring(self) -> str:
        """Return how the score of a pair is made."""
        return "the score that it gives to the second text, to which its retrievers are filtered"

    def answer(self, text: str, top_k: int) -> None:  # noqa: ARG002  the file says how many come back
        """Answer one query."""
        self._run(text)

    def find(self, texts: Sequence[str], top_k: int) -> list[Scores]:
        """Return the best documents of each query, at most as many as the pipeline gives."""
        found = [dict(list(_ranked(self._run(text)).items())[:top_k]) for text in texts]
        self._most = max([self._most or 0, *map(len, found)])
        return found

    def rate(self, texts: Sequence[str], wanted: Sequence[Sequence[str]]) -> list[Scores]:
        """Return the score of each wanted document of each query."""
        found: list[Scores] = []
        for text, names in zip(texts, wanted, strict=True):
            filters = {"field": f"meta.{PARENT_ID}", "operator": "in", "value": list(names)}
            scores = _ranked(self._run(text, filters))
            found.append({name: scores.get(name, self.least) for name in names})
        return found

    def _run(self, text: str, filters: Mapping[str, Any] | None = None) -> list[Document]:
        given: dict[str, dict[str, Any]] = {name: dict.fromkeys(its, text) for name, its in self._asked.items()}
        if filters is not None:
            for name in self._filtered:
                given[name]["filters"] = filters
        documents: list[Document] = self._pipeline.run(given).get(self._ranking, {}).get("documents", [])
        return documents

    def _load(self, index: str) -> Pipeline:
        description = copy.deepcopy(self._description)
        if self._connection is not None:
            for _, parameters in _stores(description):
                parameters |= {"index": index, **_options(self._connection)}
        try:
            return Pipeline.from_dict(description)
        except (ComponentDeserializationError, DeserializationError, PipelineError, KeyError, TypeError) as error:
            raise self._no_such(str(error)) from error

    def _no_such(self, reason: str) -> UnknownSystemError:
        return UnknownSystemError(f"{self._file} is no pipeline that can be evaluated: {reason}")


def _stores(description: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give who has an Elasticsearch store in a description, and the store's parameters, to be changed."""
    for component in description["components"].values():
        store = component.get("init_parameters", {}).get("document_store")
        if isinstance(store, dict) and _class(store) in _STORES:
            yield _class(component), store.setdefault("init_parameters", {})


def _class(component: Mapping[str, Any]) -> str:
    return str(component.get("type")).rpartition(".")[2]


def _options(connection: Connection) -> dict[str, Any]:
    """Return the parameters of a store on a server; an API key by the variable that it came from."""
    from es_ingest.cluster.node import InfoNode

    options = connection.client_options()
    if "api_key" in options:
        options["api_key"] = {"type": "env_var", "env_vars": ["ES_API_KEY"], "strict": True}
    return {**options, "node_class": InfoNode}


def _ranked(found: Sequence[Document]) -> Scores:
    """Return the documents of a ranking with scores that fall: their own, or if these do not, minus their ranks."""
    best: dict[str, float | None] = {}
    for one in found:
        best.setdefault(str(one.meta.get(PARENT_ID) or one.id), one.score)
    scores = list(best.values())
    if all(score is not None for score in scores) and scores == sorted(scores, key=lambda one: -(one or 0.0)):
        return {name: float(score or 0.0) for name, score in best.items()}
    return {name: -float(rank) for rank, name in enumerate(best, start=1)}
