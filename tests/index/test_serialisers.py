"""Requests and answers by our serialisers mean the same as by the client's own."""

import json

import pytest
from elasticsearch import AsyncElasticsearch, Elasticsearch

from es_ingest.cluster import Connection
from medte_haystack.index.serialisers import FastJson, ReadyLines


class TestJson:
    @pytest.mark.parametrize("value", [{"a": [1, 2.5, None, "é"]}, [], 'lone \ud800 "surrogate"'])
    def test_reads_what_json_reads(self, value):
        assert FastJson().json_loads(json.dumps(value).encode()) == value


class TestLines:
    def test_ready_ones_are_sent_as_they_are(self):
        body = b'{"index":{"_id":"1"}}\n{"a":1}\n'
        assert ReadyLines().dumps(body) is body

    @pytest.mark.parametrize("body", [b'{"a":1}', '{"a":1}', [{"a": 1}], ['{"a":1}'], [b'{"a":1}\n']])
    def test_others_are_made_so(self, body):
        sent = ReadyLines().dumps(body)
        assert (json.loads(sent), sent[-1:], sent.count(b"\n")) == ({"a": 1}, b"\n", 1)


@pytest.mark.parametrize("kind", [Elasticsearch, AsyncElasticsearch])
def test_both_clients_take_them(kind):
    connection = Connection("http://localhost:1", "url")
    client = connection.client() if kind is Elasticsearch else connection.async_client()
    assert isinstance(client, kind)
    found = client.transport.serializers
    assert isinstance(found.get_serializer("application/vnd.elasticsearch+json"), FastJson)
    assert isinstance(found.get_serializer("application/vnd.elasticsearch+x-ndjson"), ReadyLines)
