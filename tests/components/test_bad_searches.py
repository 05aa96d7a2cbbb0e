"""What both retrievers do, blocking and async, with bad input, with indices not for them, and without a server."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from elastic_transport import AiohttpHttpNode, Urllib3HttpNode
from elastic_transport import ConnectionError as NoConnection
from haystack.errors import FilterError

from medte_haystack import MedTEDocumentStore, MedTEEmbeddingRetriever, MedTEHybridRetriever
from medte_haystack.errors import FingerprintMismatchError, IndexContractError, IndexMissingError, SearchError


@dataclass(frozen=True)
class Way:
    """One of the two retrievers, blocking or async."""

    kind: type
    is_async: bool

    async def ask(self, retriever, vector, *filters, query="number 7", **options):
        """Search and return the documents."""
        asked = [*([query] if self.kind is MedTEHybridRetriever else []), list(vector), *filters]
        if not self.is_async:
            return retriever.run(*asked, **options)["documents"]
        try:
            return (await retriever.run_async(*asked, **options))["documents"]
        finally:
            await retriever.close_async()


@pytest.fixture(
    params=[Way(kind, is_async) for kind in (MedTEEmbeddingRetriever, MedTEHybridRetriever) for is_async in (0, 1)],
    ids=["dense", "dense-async", "hybrid", "hybrid-async"],
)
def way(request):
    return request.param


@pytest.fixture
def numbered(contract_store, documents):
    contract_store.write_documents(documents)
    return contract_store


@pytest.fixture
def retriever(way, numbered):
    return way.kind(document_store=numbered, model="minilm")


class TestFilters:
    async def test_on_an_unknown_field(self, way, retriever, unit_vectors, caplog):
        unknown = {"field": "meta.nubmer", "operator": "==", "value": 3}
        assert await way.ask(retriever, unit_vectors[0], unknown) == []
        assert "Filter on 'nubmer': no document of" in caplog.text
        assert "is it misspelt? Like it: number" in caplog.text
        for operator, value in (("!=", 3), ("not in", [3])):  # all documents differ, and nobody is told otherwise
            unequal = {**unknown, "operator": operator, "value": value}
            assert len(await way.ask(retriever, unit_vectors[0], unequal)) == 10
        assert "holds for none" not in caplog.text

    async def test_on_text(self, way, retriever, unit_vectors):
        chosen = {"field": "content", "operator": "==", "value": "Text number 7."}
        with pytest.raises(FilterError, match=r"'content' of index .* is analysed text, which filters cannot compare"):
            await way.ask(retriever, unit_vectors[0], chosen)

    async def test_with_a_value_that_the_server_cannot_read(self, way, retriever, unit_vectors):
        odd = {"field": "meta.number", "operator": "==", "value": "many"}
        with pytest.raises(SearchError, match=r"For input string: \"many\""):
            await way.ask(retriever, unit_vectors[0], odd)

    @pytest.mark.parametrize("odd", [{"number": 3}, {"field": "meta.number", "operator": "~", "value": 3}])
    async def test_that_are_none(self, way, retriever, unit_vectors, odd):
        with pytest.raises((FilterError, ValueError), match="Haystack's filter language"):
            await way.ask(retriever, unit_vectors[0], odd)


class TestNumbers:
    @pytest.mark.parametrize("options", [{"top_k": 0}, {"top_k": 10_001}, {"num_candidates": 10_001}])
    async def test_beyond_the_servers_limits(self, way, retriever, unit_vectors, options, requests):
        with pytest.raises(IndexContractError, match=r"10000"):
            await way.ask(retriever, unit_vectors[0], **options)
        assert not [sent for sent in requests if "search" in sent.target]

    async def test_the_largest_are_taken_by_the_server(self, way, retriever, unit_vectors):
        assert len(await way.ask(retriever, unit_vectors[0], top_k=10_000)) == 150
        assert len(await way.ask(retriever, unit_vectors[0], top_k=10_000, collapse=True)) == 150

    async def test_beyond_the_indexs_limit(self, way, retriever, unit_vectors, connection, index):
        with connection.client() as client:
            client.indices.put_settings(index=index, settings={"index.max_result_window": 50})
        with pytest.raises(SearchError, match=r"Result window is too large.*\[50\]"):
            await way.ask(retriever, unit_vectors[0], top_k=51)

    async def test_a_vector_of_none(self, way, retriever):
        lengths = (([float("nan")] * 384, "has length nan"), ([1.0] * 384, "length 19"), ([0.0] * 384, "length 0"))
        for wrong, why in (([], "has 0 dimensions"), *lengths):
            with pytest.raises(IndexContractError, match=why):
                await way.ask(retriever, wrong)


class TestOtherIndices:
    async def test_of_another_model(self, way, numbered, unit_vectors):
        retriever = way.kind(document_store=numbered, model="bge-small")
        with pytest.raises(FingerprintMismatchError, match=r"bge-small.*all-MiniLM|all-MiniLM.*bge-small"):
            await way.ask(retriever, unit_vectors[0])

    @pytest.mark.parametrize("model", ["minilm", None])
    async def test_of_another_version_of_the_contract(self, way, numbered, unit_vectors, connection, index, model):
        with connection.client() as client:
            meta = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]
            meta["medte"]["contract"] = 2
            client.indices.put_mapping(index=index, meta=meta)
        with pytest.raises(FingerprintMismatchError, match=r"version 2 of the index contract, this package reads 1"):
            await way.ask(way.kind(document_store=numbered, model=model), unit_vectors[0])

    async def test_that_is_deleted_meanwhile_and_made_anew(
        self, way, retriever, unit_vectors, connection, index, make_store, documents
    ):
        await way.ask(retriever, unit_vectors[0])
        with connection.client() as client:
            client.indices.delete(index=index)
        with pytest.raises(IndexMissingError, match="is not there"):
            await way.ask(retriever, unit_vectors[0])
        make_store(model="bge-small").write_documents(documents[:5])
        with pytest.raises(FingerprintMismatchError, match="bge-small"):
            await way.ask(retriever, unit_vectors[0])

    async def test_that_is_made_anew_between_two_searches(
        self, way, numbered, unit_vectors, connection, index, make_store, documents, monkeypatch
    ):
        now = [0.0]
        clock = SimpleNamespace(monotonic=lambda: now[0])
        monkeypatch.setattr("medte_haystack.components.retriever.time", clock)
        retriever = way.kind(document_store=numbered, model="minilm", top_k=1)
        await way.ask(retriever, unit_vectors[0])
        with connection.client() as client:
            client.indices.delete(index=index)
        make_store(model="bge-small").write_documents(documents[:5])
        now[0] = 61.0
        for _ in range(2):
            with pytest.raises(FingerprintMismatchError, match="bge-small"):
                await way.ask(retriever, unit_vectors[0])


class TestTexts:
    """Of the query, which the hybrid retriever alone takes."""

    @pytest.fixture(params=[0, 1], ids=["blocking", "async"])
    def way(self, request):
        return Way(MedTEHybridRetriever, request.param)

    @pytest.mark.parametrize(
        "query",
        [
            'number AND (7 OR [x TO *] {y^2 ~3 "unbalanced \\ /re+/ && || ! title:7',
            "\x00\x01\x1f number 7 \x7f \u200b\ufeff",
            "number 7 \ud800",
            "number 7 " + "lorem ipsum " * 4_200,
            "number 7 " + "😀" * 50_000,
            "number 7 " + "x" * 500_000,
        ],
        ids=["lucene", "control", "surrogate", "50,000 characters", "50,000 emoji", "one word"],
    )
    async def test_any_is_harmless(self, way, retriever, unit_vectors, query):
        found = await way.ask(retriever, unit_vectors[7], query=query, top_k=1)
        assert [one.id for one in found] == ["d7"]
        assert set(found[0].meta["retrieval"]) == {"fusion", "dense", "lexical"}

    @pytest.mark.parametrize("query", ["", " \n\t"])
    async def test_but_not_a_blank_one(self, way, retriever, unit_vectors, query):
        with pytest.raises(IndexContractError, match="the query is empty"):
            await way.ask(retriever, unit_vectors[7], query=query)

    async def test_and_no_other_type(self, way, retriever, unit_vectors):
        with pytest.raises(TypeError, match="the query is a list; it must be a string"):
            await way.ask(retriever, unit_vectors[7], query=["number"])


class Falters:
    """Breaks the connection of the next searches, or of what else is asked."""

    left, what = 0, "search"

    @classmethod
    def breaks(cls, target):
        if cls.what in target and cls.left:
            cls.left -= 1
            return True
        return False


class FalteringNode(Urllib3HttpNode):
    def perform_request(self, method, target, *args, **options):
        if Falters.breaks(target):
            raise NoConnection("connection reset by peer")
        return super().perform_request(method, target, *args, **options)


class FalteringAsyncNode(AiohttpHttpNode):
    async def perform_request(self, method, target, *args, **options):
        if Falters.breaks(target):
            raise NoConnection("connection reset by peer")
        return await super().perform_request(method, target, *args, **options)


class TestServerGone:
    @pytest.fixture
    def retriever(self, way, connection, numbered, index):
        """A retriever whose connections falter."""
        node = FalteringAsyncNode if way.is_async else FalteringNode
        store = MedTEDocumentStore(hosts=connection.url, index=index, node_class=node)
        yield way.kind(document_store=store, model="minilm", top_k=1)
        Falters.left, Falters.what = 0, "search"
        store.close()

    async def test_for_a_moment(self, way, retriever, unit_vectors):
        Falters.left = 1
        assert [one.id for one in await way.ask(retriever, unit_vectors[7])] == ["d7"]
        assert Falters.left == 0

    async def test_for_longer(self, way, retriever, unit_vectors):
        Falters.left = 2
        with pytest.raises(SearchError, match=r"not answered after 2 attempts: Connection error") as caught:
            await way.ask(retriever, unit_vectors[7])
        assert (caught.value.attempts, Falters.left) == (2, 0)
        assert [one.id for one in await way.ask(retriever, unit_vectors[7])] == ["d7"]

    async def test_when_it_is_asked_for_the_fields_of_a_filter(self, way, retriever, unit_vectors):
        await way.ask(retriever, unit_vectors[7])
        Falters.left, Falters.what = 4, "include_defaults"  # and three retries of the client's
        with pytest.raises(SearchError, match=r"not answered after 4 attempts"):
            await way.ask(retriever, unit_vectors[7], {"field": "meta.other", "operator": "==", "value": 1})

    async def test_from_the_start(self, way):
        nowhere = MedTEDocumentStore(hosts="http://127.0.0.1:1", index="articles", max_retries=1)
        with pytest.raises(SearchError, match=r"'articles' was not answered after 2 attempts: .*; is the server"):
            await way.ask(way.kind(document_store=nowhere), [1.0])
