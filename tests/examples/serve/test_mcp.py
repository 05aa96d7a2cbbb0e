"""The MCP tool, asked by the client of the MCP project."""

import json

import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

QUERY = "what causes kidney stones"


async def test_an_agent_finds_the_tool_and_asks_it(server) -> None:
    async with (
        streamable_http_client(f"{server.url}/mcp") as (reading, writing, _),
        ClientSession(reading, writing) as mcp,
    ):
        await mcp.initialize()
        tools = {one.name: one for one in (await mcp.list_tools()).tools}
        assert not {"deploy_pipeline", "undeploy_pipeline"} & tools.keys()
        tool = tools["search"]
        assert tool.description.startswith("Search medical documents")
        assert tool.inputSchema["required"] == ["query"]
        assert tool.inputSchema["properties"]["mode"]["enum"] == ["hybrid", "dense", "lexical"]
        filters = {"field": "meta.source", "operator": "in", "value": ["NIDDK"]}
        asked = {"query": QUERY, "mode": "dense", "filters": filters, "top_k": 3}
        result = await mcp.call_tool("search", asked)
        assert not result.isError
        found = json.loads(result.content[0].text)["documents"]
        async with httpx.AsyncClient() as client:
            rest = (await client.post(f"{server.url}/search/run", json=asked, timeout=30)).json()
        assert found == rest["result"]["documents"]
        assert len(found) == 3


async def test_an_agent_is_told_what_is_wrong(server) -> None:
    async with (
        streamable_http_client(f"{server.url}/mcp") as (reading, writing, _),
        ClientSession(reading, writing) as mcp,
    ):
        await mcp.initialize()
        for asked, says in (({"query": "  "}, "query is empty"), ({"query": "x", "mode": "no"}, "no"), ({}, "query")):
            result = await mcp.call_tool("search", asked)
            assert result.isError
            assert says in result.content[0].text


async def test_the_log_holds_nothing_of_what_an_agent_asked(server) -> None:
    async with (
        streamable_http_client(f"{server.url}/mcp") as (reading, writing, _),
        ClientSession(reading, writing) as mcp,
    ):
        await mcp.initialize()
        for wrong in ({"operator": "like", "value": "telling"}, {"value": "telling"}):
            filters = {"operator": "AND", "conditions": [{"field": "meta.source", **wrong}]}
            assert (await mcp.call_tool("search", {"query": "telling", "filters": filters})).isError
        assert (await mcp.call_tool("search", {"query": "telling", "top_k": "telling"})).isError
    assert "telling" not in "".join(server.said)
