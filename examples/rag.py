"""Answers with citations that can be checked: each names a source document and the characters it rests on.

Run it:  .venv/bin/python examples/rag.py [MODEL]
MODEL is asked through Haystack's OpenAIChatGenerator, which wants OPENAI_API_KEY, and OPENAI_BASE_URL for another
server of that protocol (Ollama, vLLM, llama.cpp, …). Without MODEL nothing is asked: a generator without a language
model answers with the sentences that have most of the question's words. Elasticsearch is found as in `pipelines.py`.
"""

import re
import sys
from dataclasses import dataclass
from typing import Any

from haystack import Document, Pipeline, component
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import MockChatGenerator, OpenAIChatGenerator
from haystack.components.generators.chat.types import ChatGenerator
from haystack.dataclasses import ChatMessage
from pipelines import MODEL, indexing_pipeline, sample

from es_ingest.cluster import open_cluster
from medte_haystack import MedTEDocumentStore, MedTEHybridRetriever, MedTETextEmbedder

PROMPT = [
    ChatMessage.from_system(
        "Answer from the sentences below and nothing else. Behind each sentence of your answer put the tags, in square"
        " brackets and just as they stand, of those it rests on. If they do not answer the question, say so."
    ),
    ChatMessage.from_user(
        "{% for one in sentences %}{{ one.tag }} {{ one.text }}\n{% endfor %}\nQuestion: {{ question }}"
    ),
]
_SENTENCE = re.compile(r"\S.*?(?:[.!?]+(?=\s)|(?=\s*\n\s*\n)|\Z)", re.DOTALL)
_TAG = re.compile(r"\[([^\[\]]+)@(\d+)-(\d+)\]")


@dataclass(frozen=True)
class Sentence:
    """A sentence of a source document.

    :param parent: Id of the document.
    :param start: Its first character in the document.
    :param end: One past its last.
    :param text: The characters between, white space as single blanks.
    """

    parent: str
    start: int
    end: int
    text: str

    @property
    def tag(self) -> str:
        """How it is cited."""
        return f"[{self.parent}@{self.start}-{self.end}]"


def one_line(text: str) -> str:
    """Return a text with white space as single blanks, as prompts have it."""
    return " ".join(text.split())


@component
class SentenceCutter:
    """Cuts passages into sentences that know their place in the source document."""

    @component.output_types(sentences=list[Sentence])
    def run(self, documents: list[Document]) -> dict[str, list[Sentence]]:
        """Cut passages as `MedTEDocumentSplitter` or `es-ingest` wrote them."""
        return {
            "sentences": [
                Sentence(
                    one.meta["parent_id"],
                    one.meta["chunk_start"] + found.start(),
                    one.meta["chunk_start"] + found.end(),
                    one_line(found.group()),
                )
                for one in documents
                for found in _SENTENCE.finditer(one.content or "")
            ]
        }


@component
class CitationChecker:
    """Looks up every citation of an answer in the index: it must have been given to the generator, and say the same."""

    def __init__(self, document_store: MedTEDocumentStore) -> None:
        self.document_store = document_store

    @component.output_types(answer=str, citations=list[Sentence], broken=list[str])
    def run(self, replies: list[ChatMessage], sentences: list[Sentence]) -> dict[str, Any]:
        """Check the first reply.

        :param replies: Of the chat generator.
        :param sentences: Those that it was given.
        :returns: ``answer``; ``citations``: what it cites, each once; ``broken``: tags that were not given, or whose
            characters in the index are others.
        """
        answer = replies[0].text or ""
        given = {one.tag: one for one in sentences}
        cited = list(dict.fromkeys(found.group() for found in _TAG.finditer(answer)))
        stored = self._stored({given[tag].parent for tag in cited if tag in given})
        sound = [tag for tag in cited if tag in given and _says(stored, given[tag])]
        return {
            "answer": answer,
            "citations": [given[tag] for tag in sound],
            "broken": [tag for tag in cited if tag not in sound],
        }

    def _stored(self, parents: set[str]) -> list[Document]:
        if not parents:
            return []
        return self.document_store.filter_documents(
            {"field": "meta.parent_id", "operator": "in", "value": sorted(parents)}
        )


def _says(stored: list[Document], sentence: Sentence) -> bool:
    """Tell whether the index holds the very sentence at its place."""
    for one in stored:
        start = one.meta["chunk_start"]
        if (
            one.meta["parent_id"] == sentence.parent
            and start <= sentence.start
            and sentence.end <= one.meta["chunk_end"]
        ):
            return one_line((one.content or "")[sentence.start - start : sentence.end - start]) == sentence.text
    return False


def extract(messages: list[ChatMessage]) -> str:
    """Answer with the sentences of the prompt that have most of the question's words: stands in for a model."""
    lines = (messages[-1].text or "").splitlines()
    asked = _words(lines[-1].removeprefix("Question:"))
    best = sorted((line for line in lines if _TAG.match(line)), key=lambda line: -len(asked & _words(line)))[:3]
    return "\n".join(f"{_TAG.sub('', line, count=1).strip()} {_TAG.match(line).group()}" for line in best)


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", _TAG.sub("", text).lower()) if len(word) > 3}


def rag_pipeline(store: MedTEDocumentStore, generator: ChatGenerator) -> Pipeline:
    """Find passages, have a chat generator answer from their sentences, check what it cites."""
    pipeline = Pipeline()
    pipeline.add_component("embedder", MedTETextEmbedder(model=MODEL))
    pipeline.add_component("retriever", MedTEHybridRetriever(document_store=store, model=MODEL, top_k=3))
    pipeline.add_component("cutter", SentenceCutter())
    pipeline.add_component("prompt", ChatPromptBuilder(PROMPT, required_variables=["sentences", "question"]))
    pipeline.add_component("generator", generator)
    pipeline.add_component("checker", CitationChecker(store))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "cutter.documents")
    pipeline.connect("cutter.sentences", "prompt.sentences")
    pipeline.connect("prompt.prompt", "generator.messages")
    pipeline.connect("generator.replies", "checker.replies")
    pipeline.connect("cutter.sentences", "checker.sentences")
    return pipeline


def ask(pipeline: Pipeline, question: str) -> dict[str, Any]:
    """Return what the checker says of the answer."""
    asked = {"embedder": {"text": question}, "retriever": {"query": question}, "prompt": {"question": question}}
    found: dict[str, Any] = pipeline.run(asked)["checker"]
    return found


def main() -> None:
    """Index a hundred answers and ask a question."""
    generator = OpenAIChatGenerator(model=sys.argv[1]) if len(sys.argv) > 1 else MockChatGenerator(response_fn=extract)
    with open_cluster() as connection:
        store = MedTEDocumentStore(**connection.client_options(), index="rag-example", model=MODEL)
        indexing_pipeline(store).run({"splitter": {"documents": sample(100)}})
        found = ask(rag_pipeline(store, generator), "what tests show acromegaly?")
        store.close()
    print(found["answer"], end="\n\n")
    for one in found["citations"]:
        print(f"{one.parent}, characters {one.start} to {one.end}: {one.text}")
    if found["broken"]:
        sys.exit(f"not to be found in the passages given: {', '.join(found['broken'])}")


if __name__ == "__main__":
    main()
