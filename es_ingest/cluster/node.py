"""Nodes of the client's transport that answer ``GET /`` for a server without it.

The distribution of Elasticsearch that `es_ingest.cluster.distribution` fetches lacks the root endpoint, so
``client.info()``, ``client.ping()`` and the start-up check of Haystack's ElasticsearchDocumentStore fail on it. These
nodes ask the server first; only where it has no root endpoint do they make the answer from its nodes API.

    store = ElasticsearchDocumentStore(hosts=connection.url, node_class=InfoNode)
"""

import json
from typing import TYPE_CHECKING, Any

from elastic_transport import AiohttpHttpNode, HttpHeaders, Urllib3HttpNode
from elastic_transport.client_utils import DEFAULT, DefaultType

if TYPE_CHECKING:
    from elastic_transport._node import NodeApiResponse  # the parents' return type; not exported

ROOT = "/"
_FIELDS = "cluster_name,nodes.*.name,nodes.*.version,nodes.*.build_flavor,nodes.*.build_type,nodes.*.build_hash"
NODES = f"/_nodes/_local?filter_path={_FIELDS}"
NO_SUCH_ENDPOINT = (400, 404, 405)


class InfoNode(Urllib3HttpNode):
    """Synchronous node: ``Elasticsearch(url, node_class=InfoNode)``."""

    def perform_request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> "NodeApiResponse":
        """Send one request; see `elastic_transport.BaseNode.perform_request`."""
        answer = super().perform_request(method, target, body, headers, request_timeout)
        if not _lacks_root(method, target, answer):
            return answer
        nodes = super().perform_request("GET", NODES, None, headers, request_timeout)
        return _as_info(method, nodes)


class AsyncInfoNode(AiohttpHttpNode):
    """Asynchronous node: ``AsyncElasticsearch(url, node_class=AsyncInfoNode)``."""

    async def perform_request(  # type: ignore[override]  # as the parent class does
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> "NodeApiResponse":
        """Send one request; see `elastic_transport.BaseAsyncNode.perform_request`."""
        answer = await super().perform_request(method, target, body, headers, request_timeout)
        if not _lacks_root(method, target, answer):
            return answer
        nodes = await super().perform_request("GET", NODES, None, headers, request_timeout)
        return _as_info(method, nodes)


def _lacks_root(method: str, target: str, answer: "NodeApiResponse") -> bool:
    """Say whether this was a question to the root endpoint of an Elasticsearch that has none."""
    meta = answer.meta
    is_elasticsearch = meta.headers.get("x-elastic-product") == "Elasticsearch"
    asked = method in ("GET", "HEAD") and target.partition("?")[0] == ROOT
    return asked and is_elasticsearch and meta.status in NO_SUCH_ENDPOINT


def _as_info(method: str, answer: "NodeApiResponse") -> "NodeApiResponse":
    """Turn an answer of the nodes API into the root endpoint's."""
    if answer.meta.status != 200:
        return answer
    if method == "HEAD":
        return answer._replace(body=b"")
    found: dict[str, Any] = json.loads(answer.body)
    node: dict[str, Any] = next(iter(found["nodes"].values()))
    version = {"number": node["version"]}
    version.update({key: node[key] for key in ("build_flavor", "build_type", "build_hash") if key in node})
    info = {
        "name": node["name"],
        "cluster_name": found["cluster_name"],
        "version": version,
        "tagline": "You Know, for Search",
    }
    return answer._replace(body=json.dumps(info).encode())
