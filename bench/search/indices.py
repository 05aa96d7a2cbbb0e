"""The indices that are searched, of the contract's shape."""

import sys
import time
from collections.abc import Iterator
from itertools import islice

from elasticsearch import Elasticsearch

from bench.search.corpus import Passages
from es_ingest.indices.graph import await_graph
from es_ingest.indices.loading import begin_loading, end_loading
from es_ingest.tuning.copies import segments
from medte_haystack.index import (
    Fingerprint,
    IndexSpec,
    Operation,
    Server,
    bulk,
    detect_server,
    open_index,
    operation,
    run,
    source,
    vector_json,
)

_AT_ONCE = bulk.AT_ONCE * bulk.MAX_COUNT
_MADE_BY = "bench"


def make_index(client: Elasticsearch, passages: Passages, quantisation: str) -> tuple[str, int]:
    """Write passages into an index, unless it is there from an earlier run, as es-ingest does, and wait for its graph.

    :returns: Its name, and how many segments it has.
    """
    dim = passages.vectors.shape[1]
    name = f"bench-search-{passages.key}-{quantisation}"
    if client.options(ignore_status=404).count(index=name).body.get("count") != len(passages.chunks):
        started = time.perf_counter()
        client.options(ignore_status=404).indices.delete(index=name)
        server = run(client, detect_server())
        run(client, open_index(name, IndexSpec(Fingerprint(_MADE_BY, dim, "mean"), quantisation, replicas=0), server))
        begin_loading(client, name, new=True)
        operations = _operations(passages, server)
        while some := list(islice(operations, _AT_ONCE)):
            refused = run(client, bulk.write(name, some)).failures
            if refused:
                raise AssertionError(refused[0])
        end_loading(client, name)
        if not await_graph(client, name):
            raise AssertionError("no graph")
        print(f"made {name} in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return name, segments(client, name)


def _operations(passages: Passages, server: Server) -> Iterator[Operation]:
    for chunk, vector in passages:
        sent = vector_json(vector, base64_vectors=server.base64_vectors)
        yield operation("index", chunk.id, source(chunk, sent))
