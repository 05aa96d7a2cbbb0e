"""Search as hayhooks serves it: POST /search/run, and the MCP tool `search`.

Where the index is comes from the environment: ES_URL, SEARCH_INDEX, SEARCH_MODEL, and the credentials that es-ingest
takes (ES_API_KEY, or ES_USERNAME and ES_PASSWORD; ES_CA_CERTS).
"""

import os
import time
from typing import Annotated, Any, get_args

from fastapi import HTTPException
from hayhooks import BasePipelineWrapper
from pydantic import Field

from es_ingest.cluster.connection import connection_from_url
from medte_haystack import MedTEDocumentStore, MedTETextEmbedder

from .answers import Answer, Mode, passage
from .faults import http_error
from .modes import search_pipeline


class PipelineWrapper(BasePipelineWrapper):
    """Three pipelines over one store. `pipeline` stays None: hayhooks would draw it on a server elsewhere."""

    deployment_type = "pipeline"

    def setup(self) -> None:
        """Make the pipelines and load the model, which they share."""
        url, self.index, self.model = _told("ES_URL"), _told("SEARCH_INDEX"), _told("SEARCH_MODEL")
        connection = connection_from_url(url, os.environ)
        self.store = MedTEDocumentStore(
            **{"api_key": None, **connection.client_options()}, index=self.index, model=self.model
        )
        self.pipelines = {mode: search_pipeline(self.store, self.model, mode) for mode in get_args(Mode)}
        for pipeline in self.pipelines.values():
            pipeline.warm_up()
        self.any_vector = MedTETextEmbedder(model=self.model).run("")["embedding"]

    async def run_api_async(
        self,
        query: Annotated[str, Field(min_length=1, max_length=50_000)],
        mode: Mode = "hybrid",
        filters: dict[str, Any] | None = None,
        top_k: Annotated[int, Field(ge=1, le=100)] = 10,
        neighbours: Annotated[int, Field(ge=0, le=10)] = 0,
    ) -> Answer:
        """Search medical documents for a question; each comes once, with its best passage and its place in the text.

        :param query: A question or keywords, as text.
        :param mode: hybrid (vectors and words, the best for most questions), dense (vectors), lexical (BM25).
        :param filters: In Haystack's filter language, such as
            {"field": "meta.source", "operator": "in", "value": ["NIDDK", "NINDS"]}.
        :param top_k: Documents wanted.
        :param neighbours: Passages wanted before and after each one that is found.
        :returns: What was found, and how long it took.
        """
        if not query.strip():
            raise HTTPException(422, "the query is empty; give some text to search for")
        asked: dict[str, Any] = {"filters": filters, "top_k": top_k, "neighbours": neighbours}
        inputs: dict[str, Any] = {"retriever": asked}
        if mode != "dense":
            asked["query"] = query
        if mode == "lexical":
            asked["query_embedding"] = self.any_vector
        else:
            inputs["embedder"] = {"text": query}
        started = time.perf_counter()
        try:
            result = await self.pipelines[mode].run_async(inputs)
        except Exception as error:  # hayhooks would make it a 500
            raise http_error(error) from error
        found = result["retriever"]["documents"]
        return {
            "mode": mode,
            "documents": [passage(one, rank, mode) for rank, one in enumerate(found, 1)],
            "took_ms": round(1000 * (time.perf_counter() - started), 1),
        }


def _told(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ValueError(f"set the environment variable {name}: the server (ES_URL), its index, and the index's model")
    return value
