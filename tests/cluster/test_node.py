import json
from types import SimpleNamespace

import pytest
from elastic_transport import HttpHeaders
from elastic_transport._node import NodeApiResponse
from elasticsearch import Elasticsearch
from haystack import Document
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from es_ingest.cluster.node import InfoNode, _as_info, _lacks_root


def answer(status, product="Elasticsearch", body=b"{}"):
    return NodeApiResponse(SimpleNamespace(status=status, headers=HttpHeaders({"x-elastic-product": product})), body)


@pytest.mark.parametrize(
    ("method", "target", "response", "lacks"),
    [
        ("GET", "/", answer(405), True),
        ("HEAD", "/", answer(400), True),
        ("GET", "/?pretty", answer(405), True),
        ("GET", "/", answer(200), False),
        ("GET", "/", answer(401), False),
        ("GET", "/", answer(405, product="nginx"), False),
        ("DELETE", "/", answer(405), False),
        ("GET", "/index", answer(404), False),
    ],
)
def test_only_a_missing_root_endpoint_of_elasticsearch_is_made_up_for(method, target, response, lacks):
    assert _lacks_root(method, target, response) is lacks


def test_info_from_the_nodes_api():
    body = {"cluster_name": "c", "nodes": {"id": {"name": "n", "version": "9.5.3", "build_flavor": "default"}}}
    info = json.loads(_as_info("GET", answer(200, body=json.dumps(body).encode())).body)
    assert info["version"] == {"number": "9.5.3", "build_flavor": "default"}
    assert (info["name"], info["cluster_name"]) == ("n", "c")
    assert _as_info("GET", answer(503)).meta.status == 503


def test_info_and_ping_on_the_real_server(server):
    with Elasticsearch(server.url, node_class=InfoNode) as client:
        assert client.info()["version"]["number"] == server.version
        assert client.ping()


async def test_info_and_ping_asynchronously(server):
    async with server.async_client() as client:
        assert (await client.info())["version"]["number"] == server.version
        assert await client.ping()


def test_stock_haystack_store_works_on_the_real_server(server):
    store = ElasticsearchDocumentStore(hosts=server.url, index="test-node-store", node_class=InfoNode)
    store.write_documents([Document(content="a")])
    assert store.count_documents() == 1
    store.close()
