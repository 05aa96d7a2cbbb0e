"""The REST API: it answers what the retrievers answer, says what it takes, and tells faults apart."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import jsonschema
import pytest
import requests

from medte_haystack import MedTEDocumentStore, MedTEEmbeddingRetriever, MedTEHybridRetriever, MedTETextEmbedder
from medte_haystack.index.contract import CHUNK_END, CHUNK_START, PARENT_ID

MODEL = "minilm"
QUERY = "what causes kidney stones"


def search(server, **body):
    return requests.post(f"{server.url}/search/run", json=body, timeout=30)


@pytest.fixture
def store(connection, served_index):
    found = MedTEDocumentStore(hosts=connection.url, index=served_index, model=MODEL)
    yield found
    found.close()


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
@pytest.mark.parametrize("source", [None, "NINDS"])
def test_answers_are_the_retrievers_own(server, store, mode, source) -> None:
    filters = source and {"field": "meta.source", "operator": "==", "value": source}
    vector = MedTETextEmbedder(model=MODEL).run(QUERY)["embedding"]
    if mode == "dense":
        found = MedTEEmbeddingRetriever(document_store=store, model=MODEL, collapse=True).run(vector, filters)
    elif mode == "hybrid":
        found = MedTEHybridRetriever(document_store=store, model=MODEL).run(QUERY, vector, filters)
    else:
        retriever = MedTEHybridRetriever(document_store=store, model=MODEL)
        found = retriever.run(QUERY, vector, filters, fusion="weighted", weights=[0.0, 1.0])
    answer = search(server, query=QUERY, mode=mode, filters=filters).json()["result"]
    assert answer["mode"] == mode
    assert answer["took_ms"] > 0
    assert [
        (one["document_id"], one["start"], one["end"], one["content"], pytest.approx(one["score"]))
        for one in answer["documents"]
    ] == [
        (one.meta[PARENT_ID], one.meta[CHUNK_START], one.meta[CHUNK_END], one.content, one.score)
        for one in found["documents"]
    ]
    assert {one["meta"]["source"] for one in answer["documents"]} <= {
        source or one for one in ("NIDDK", "NINDS", "NHLBI")
    }


def test_each_side_tells_rank_and_score(server) -> None:
    by_mode = {
        mode: search(server, query=QUERY, mode=mode, top_k=20).json()["result"]["documents"]
        for mode in ("hybrid", "dense", "lexical")
    }
    for side in ("dense", "lexical"):
        assert [one["found_by"] for one in by_mode[side]] == [
            {side: {"rank": rank, "score": one["score"]}} for rank, one in enumerate(by_mode[side], 1)
        ]
        first = by_mode[side][0]["document_id"]
        both = next(one for one in by_mode["hybrid"] if one["document_id"] == first)
        assert both["found_by"][side]["rank"] == 1


def test_neighbours_come_in_the_order_of_the_text(server) -> None:
    documents = search(server, query=QUERY, neighbours=2).json()["result"]["documents"]
    assert any(one["neighbours"] for one in documents)
    for one in documents:
        places = [chunk["start"] for chunk in one["neighbours"]]
        assert places == sorted(places)
        assert one["start"] not in places


def test_a_document_is_its_passages_in_order(server, records) -> None:
    for record in (records[0], records[-1]):
        found = requests.get(f"{server.url}/document", {"id": record.id}, timeout=30).json()
        assert (found["document_id"], found["title"]) == (record.id, record.title)
        assert found["meta"] == record.meta
        for chunk in found["chunks"]:
            assert chunk["content"] == record.text[chunk["start"] : chunk["end"]]
        assert [one["start"] for one in found["chunks"]] == sorted(one["start"] for one in found["chunks"])
        assert "".join("".join(one["content"] for one in found["chunks"]).split()) == "".join(record.text.split())


def test_facets_count_documents_under_the_other_fields(server, records) -> None:
    def facets(**selected):
        found = requests.post(f"{server.url}/facets", json={"selected": selected}, timeout=30).json()["facets"]
        return {one["field"]: {value["value"]: value["documents"] for value in one["values"]} for one in found}

    everything = facets()
    assert everything["source"] == Counter(one.meta["source"] for one in records)
    assert "url" not in everything, "each document has its own"
    kinds = Counter(one.meta["qtype"] for one in records if one.meta["source"] == "NINDS")
    chosen = facets(source=["NINDS"])
    assert {value: count for value, count in chosen["qtype"].items() if count} == kinds
    assert chosen["source"] == everything["source"]


def test_health_says_what_is_served(server, served_index, records) -> None:
    found = requests.get(f"{server.url}/health", timeout=30)
    assert found.status_code == 200
    assert found.json() == {
        "status": "ok",
        "index": served_index,
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "documents": len(records),
    }


def test_many_at_once_are_answered_alike(server) -> None:
    asked = [{"query": QUERY, "mode": mode, "top_k": 5} for mode in ("hybrid", "dense", "lexical")]
    alone = [search(server, **one).json()["result"]["documents"] for one in asked]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: search(server, **asked[number % 3]), range(90)))
    assert {one.status_code for one in answers} == {200}
    assert all(one.json()["result"]["documents"] == alone[number % 3] for number, one in enumerate(answers))


def test_openapi_types_every_parameter(server) -> None:
    api = requests.get(f"{server.url}/openapi.json", timeout=30).json()
    body = api["paths"]["/search/run"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    asked = api["components"]["schemas"][body["$ref"].rsplit("/", 1)[-1]]
    assert asked["required"] == ["query"]
    assert {name: one.get("type") for name, one in asked["properties"].items()} == {
        "query": "string",
        "mode": "string",
        "filters": None,  # an object or null
        "top_k": "integer",
        "neighbours": "integer",
    }
    assert asked["properties"]["mode"]["enum"] == ["hybrid", "dense", "lexical"]
    assert asked["properties"]["top_k"]["maximum"] == 100
    assert all("Parameter" not in one["description"] for one in asked["properties"].values())
    answer = api["components"]["schemas"]["Passage"]["properties"]
    assert {"document_id", "content", "start", "end", "score", "found_by", "meta"} <= answer.keys()


def test_openapi_has_our_routes_alone_and_the_faults_of_each(server) -> None:
    api = requests.get(f"{server.url}/openapi.json", timeout=30).json()
    routes = {
        path: {status: one for status, one in route["responses"].items() if status != "200"}
        for path, operations in api["paths"].items()
        for route in operations.values()
    }
    assert {path: sorted(faults) for path, faults in routes.items()} == {
        "/search/run": ["404", "409", "422", "503"],
        "/facets": ["404", "422", "503"],
        "/document": ["404", "422", "503"],
        "/health": ["503"],
    }
    schemas = [one["content"]["application/json"]["schema"] for faults in routes.values() for one in faults.values()]
    assert all(one == {"$ref": "#/components/schemas/Fault"} for one in schemas)
    wrong = {"field": "content", "operator": "==", "value": "x"}
    answers = [
        search(server, query="x", filters=wrong),
        search(server, query=""),
        requests.get(f"{server.url}/document", timeout=30),
        requests.get(f"{server.url}/document", {"id": "nobody"}, timeout=30),
    ]
    assert [one.status_code for one in answers] == [422, 422, 422, 404]
    for one in answers:
        jsonschema.validate(one.json(), {**schemas[0], "components": api["components"]})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "required"),
        ({"query": ""}, "at least 1"),
        *(({"query": " \n", "mode": mode}, "query is empty") for mode in ("hybrid", "dense", "lexical")),
        ({"query": "x", "mode": "sparse"}, "hybrid"),
        ({"query": "x", "top_k": 101}, "100"),
        ({"query": "x", "filters": {"source": "NIDDK"}}, "filter language"),
        ({"query": "x", "filters": {"field": "content", "operator": "==", "value": "x"}}, "analysed text"),
        ({"query": "x", "filters": {"field": "meta.source", "operator": "like", "value": "x"}}, "like"),
        ({"query": "x", "filters": {"field": "meta.chunk_index", "operator": "==", "value": "many"}}, '"many"'),
    ],
)
def test_what_cannot_be_searched_for_is_told(server, body, says) -> None:
    answer = search(server, **body)
    assert answer.status_code == 422
    assert says in str(answer.json()["detail"])


@pytest.mark.parametrize(("query", "status"), [('"kid\\u0000ney \\ud83e\\udec0"', 200), ('"kidney \\ud800"', 422)])
def test_odd_characters(server, query, status) -> None:
    sent = {"data": f'{{"query": {query}}}', "headers": {"Content-Type": "application/json"}}
    answer = requests.post(f"{server.url}/search/run", timeout=30, **sent)
    assert answer.status_code == status
    assert "ud800" not in answer.text


def test_facets_of_a_value_that_the_field_cannot_have_are_the_callers_fault(server) -> None:
    answer = requests.post(f"{server.url}/facets", json={"selected": {"chunk_index": ["abc"]}}, timeout=30)
    assert answer.status_code == 422
    assert '"abc"' in answer.json()["detail"]


def test_an_unknown_document_is_not_found(server) -> None:
    assert requests.get(f"{server.url}/document", {"id": "nobody"}, timeout=30).status_code == 404
    assert requests.get(f"{server.url}/document", timeout=30).status_code == 422


def test_nobody_deploys_or_draws_or_comes_by_another_name(server) -> None:
    for path in ("deploy_files", "deploy-yaml", "undeploy/search"):
        assert requests.post(f"{server.url}/{path}", json={}, timeout=30).status_code in (404, 405)
    assert requests.get(f"{server.url}/draw/search", timeout=30).status_code == 404
    assert requests.get(f"{server.url}/health", headers={"Host": "evil.example"}, timeout=30).status_code == 400
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = requests.options(f"{server.url}/search/run", headers=asked, timeout=30)
    assert "access-control-allow-origin" not in answer.headers


def test_the_page_allows_only_what_is_its_own(server) -> None:
    for path in ("", "document.html", "search.js", "vendor/lit-html.js"):
        policy = requests.get(f"{server.url}/{path}", timeout=30).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


def test_logs_hold_neither_queries_nor_texts(server) -> None:
    for field, operator in (("meta.source", "like"), ("meta.chunk_index", "==")):
        search(server, query="x", filters={"field": field, "operator": operator, "value": "a telling value"})
    requests.post(f"{server.url}/facets", json={"selected": {"chunk_index": ["a telling value"]}}, timeout=30)
    search(server, query="a telling question")
    requests.get(f"{server.url}/?q=a+telling+question", timeout=30)
    assert "telling" not in "".join(server.said)


def test_a_server_that_is_away_and_comes_back(serve, proxy, served_index) -> None:
    with serve("--es", proxy.url, "--index", served_index) as running:
        assert search(running, query=QUERY).status_code == 200
        proxy.calm = False
        away = search(running, query=QUERY)
        assert away.status_code == 503
        assert away.headers["retry-after"]
        assert "2 attempts" in away.json()["detail"]
        assert requests.get(f"{running.url}/health", timeout=30).status_code == 503
        assert requests.post(f"{running.url}/facets", json={}, timeout=30).status_code == 503
        proxy.calm = True
        assert search(running, query=QUERY).status_code == 200
    assert running.process.returncode == 0
    assert "Traceback" not in "".join(running.said)


def test_an_alias_that_moves_to_another_models_index_is_a_conflict(serve, connection, served_index) -> None:
    alias, other = f"test-alias-{uuid4().hex[:8]}", f"test-other-{uuid4().hex[:8]}"
    with connection.client() as client:
        try:
            mapping = client.indices.get_mapping(index=served_index)[served_index]["mappings"]
            mapping["_meta"]["medte"] |= {"model": "some/other", "weights_sha256": None}
            client.indices.create(index=other, mappings=mapping)
            hit = client.search(index=served_index, size=1, source={"exclude_vectors": False})["hits"]["hits"][0]
            client.index(index=other, id=hit["_id"], document=hit["_source"], refresh=True)
            client.indices.put_alias(index=served_index, name=alias)
            with serve("--es", connection.url, "--index", alias) as running:
                assert search(running, query=QUERY).status_code == 200
                moves = [{"remove": {"index": served_index, "alias": alias}}, {"add": {"index": other, "alias": alias}}]
                client.indices.update_aliases(actions=moves)
                answer = search(running, query=QUERY)
                assert answer.status_code == 409
                assert "some/other" in answer.json()["detail"]
                client.indices.delete(index=other)
                assert search(running, query=QUERY).status_code == 404
        finally:
            client.options(ignore_status=404).indices.delete(index=other)
