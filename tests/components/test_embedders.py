"""The embedders and the splitter, with the real model."""

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.utils import ComponentDevice, Device, DeviceMap

from medte_haystack import MedTEDocumentEmbedder, MedTEDocumentSplitter, MedTETextEmbedder
from medte_haystack.components.shared_encoder import device_name
from medte_haystack.encoder import Encoder
from medte_haystack.encoder.backends.cpu import lacks
from medte_haystack.errors import EncoderOptionError, ModelNotAvailableError

OPTIONS = {"model": "minilm", "device": ComponentDevice.from_str("cpu"), "precision": "fp32"}
KINDS = (MedTETextEmbedder, MedTEDocumentEmbedder)
needs_int8 = pytest.mark.skipif(bool(lacks("int8")), reason=f"this processor lacks {lacks('int8')}")
TEXT = "Acromegaly is a disorder of growth."


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    embedder = MedTETextEmbedder(**OPTIONS)
    embedder.warm_up()
    return embedder.encoder


class RecordingEncoder:
    """Notes what it is asked to encode."""

    def __init__(self):
        self.asked = []

    def encode_one(self, text, kind):
        return next(self.encode_stream([text], kind))

    def encode_stream(self, texts, kind, *, max_texts=None, on_truncated=None):
        texts = list(texts)
        self.asked.append((texts, kind, max_texts))
        return (np.ones(2, dtype=np.float32) for _ in texts)


class TestText:
    async def test_run_and_run_async_give_the_encoders_vector(self, encoder):
        embedder = MedTETextEmbedder(**OPTIONS)
        expected = encoder.encode([TEXT], "query")[0]
        for found in (embedder.run(TEXT), await embedder.run_async(TEXT)):
            assert list(found) == ["embedding"]
            assert all(type(value) is float for value in found["embedding"])
            np.testing.assert_allclose(found["embedding"], expected, atol=1e-6)

    @pytest.mark.parametrize(
        ("options", "asked"),
        [
            ({}, ([TEXT], "query", None)),
            ({"prefix": ""}, ([TEXT], None, None)),
            ({"prefix": "q: ", "suffix": "?"}, ([f"q: {TEXT}?"], None, None)),
        ],
    )
    def test_a_prefix_replaces_the_models_own(self, options, asked):
        embedder = MedTETextEmbedder(**options)
        embedder.encoder = RecordingEncoder()
        embedder.run(TEXT)
        assert embedder.encoder.asked == [asked]

    @pytest.mark.parametrize("bad", [None, 5, [TEXT], Document(content=TEXT)])
    def test_something_else_than_a_string(self, bad):
        with pytest.raises(TypeError, match=f"takes a string, not {type(bad).__name__}; for Documents"):
            MedTETextEmbedder(model="nobody/nothing").run(bad)

    def test_repeated_queries_can_be_kept(self):
        embedder = MedTETextEmbedder(cached_queries=2)
        embedder.encoder = RecordingEncoder()
        for text in ("a", "b", "a", "c", "a", "b"):
            embedding = embedder.run(text)["embedding"]
            assert embedding == [1.0, 1.0]
            embedding.clear()  # a caller may do as it likes with its list
        assert [texts for texts, _, _ in embedder.encoder.asked] == [["a"], ["b"], ["c"], ["b"]]

    def test_none_is_kept_unless_asked_for(self):
        embedder = MedTETextEmbedder()
        embedder.encoder = RecordingEncoder()
        embedder.run(TEXT)
        embedder.run(TEXT)
        assert len(embedder.encoder.asked) == 2

    def test_computing_in_8_bits_gives_floats(self, encoder):
        found = MedTETextEmbedder(**{**OPTIONS, "precision": "int8"}).run(TEXT)["embedding"]
        assert all(type(value) is float for value in found)
        assert np.dot(found, encoder.encode_one(TEXT)) >= 0.99


class TestDocuments:
    async def test_run_and_run_async_give_copies_in_order(self, encoder):
        documents = [Document(content=f"{TEXT} " * length, meta={"n": length}) for length in (3, 1, 60, 2)]
        before = copy.deepcopy(documents)
        embedder = MedTEDocumentEmbedder(**OPTIONS)
        expected = encoder.encode([one.content for one in documents])
        for found in (embedder.run(documents), await embedder.run_async(documents)):
            assert [one.id for one in found["documents"]] == [one.id for one in documents]
            np.testing.assert_allclose([one.embedding for one in found["documents"]], expected, atol=1e-5)
        assert documents == before

    @pytest.mark.parametrize(
        ("options", "text", "kind"),
        [
            ({}, "body", "passage"),
            ({"meta_fields_to_embed": ["title", "none", "missing", "year"]}, "Title\n2020\nbody", "passage"),
            ({"meta_fields_to_embed": ["title"], "embedding_separator": " "}, "Title body", "passage"),
            ({"prefix": "p: ", "suffix": "!"}, "p: body!", None),
        ],
    )
    def test_what_is_embedded(self, options, text, kind):
        embedder = MedTEDocumentEmbedder(batch_size=7, **options)
        embedder.encoder = RecordingEncoder()
        embedder.run([Document(content="body", meta={"title": "Title", "none": None, "year": 2020})])
        assert embedder.encoder.asked == [([text], kind, 7)]

    def test_a_document_without_content(self):
        embedder = MedTEDocumentEmbedder()
        embedder.encoder = RecordingEncoder()
        assert embedder.run([Document()])["documents"][0].embedding == [1.0, 1.0]
        assert embedder.encoder.asked == [([""], "passage", None)]

    def test_no_documents(self):
        assert MedTEDocumentEmbedder(**OPTIONS).run([]) == {"documents": []}

    @pytest.mark.parametrize("bad", [None, TEXT, [TEXT], Document(), (Document(),)])
    def test_something_else_than_a_list_of_documents(self, bad):
        with pytest.raises(TypeError, match="takes a list of Documents"):
            MedTEDocumentEmbedder(model="nobody/nothing").run(bad)

    def test_what_is_too_long_is_named(self, caplog):
        embedder = MedTEDocumentEmbedder(**OPTIONS)
        documents = [Document(id=f"n{number}", content=f"{TEXT} " * (number % 2 * 100)) for number in range(14)]
        embedder.run(documents)
        assert embedder.truncated == ["n1", "n3", "n5", "n7", "n9", "n11", "n13"]
        (told,) = [record.getMessage() for record in caplog.records]
        assert told == "7 of 14 documents were longer than 256 tokens and lost their end: n1, n3, n5, n7, n9, …"
        embedder.run(documents[:1])
        assert embedder.truncated == []
        assert len(caplog.records) == 1


class TestLoading:
    def test_components_with_equal_options_share_one_encoder(self, encoder):
        others = [MedTETextEmbedder(**OPTIONS), MedTEDocumentEmbedder(**OPTIONS)]
        for embedder in others:
            embedder.warm_up()
            assert embedder.encoder is encoder
        short = MedTETextEmbedder(truncate_dim=64, tokenizer_kwargs={"model_max_length": 16}, **OPTIONS)
        assert len(short.run(TEXT)["embedding"]) == 64
        assert short.encoder is not encoder
        assert short.encoder.max_tokens == 16

    def test_a_missing_model_is_reported_by_the_first_run(self):
        with pytest.raises(ModelNotAvailableError, match="offline:"):
            MedTETextEmbedder(model="nobody/nothing", local_files_only=True).run(TEXT)

    def test_devices_are_strings_too(self, encoder):
        embedder = MedTETextEmbedder(**{**OPTIONS, "device": "cpu"})
        embedder.warm_up()
        assert embedder.encoder is encoder

    def test_several_devices_compute_together(self):
        devices = ComponentDevice.from_multiple(DeviceMap({"a": Device.gpu(0), "b": Device.gpu(1), "c": Device.gpu(0)}))
        assert device_name(devices) == "cuda:0,cuda:1"
        assert device_name(ComponentDevice.from_str("cpu")) == "cpu"
        assert device_name(None) is None

    def test_devices_of_several_kinds_are_refused(self):
        devices = ComponentDevice.from_multiple(DeviceMap.from_hf({"a": "cpu", "b": "mps"}))
        with pytest.raises(EncoderOptionError, match="cpu,mps"):
            MedTETextEmbedder(model="minilm", device=devices).warm_up()


@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=needs_int8)])
class TestCopies:
    """Of components that have loaded their model."""

    def test_deep_copies(self, precision):
        text, documents = (kind(**{**OPTIONS, "precision": precision}) for kind in KINDS)
        expected = text.run(TEXT)["embedding"]
        pipeline = Pipeline()
        pipeline.add_component("text", copy.deepcopy(text))
        np.testing.assert_array_equal(pipeline.run({"text": {"text": TEXT}})["text"]["embedding"], expected)
        before = documents.run([Document(content=TEXT)])
        assert copy.deepcopy(documents).run([Document(content=TEXT)]) == before

    def test_in_another_process(self, precision):
        embedders = [kind(**{**OPTIONS, "precision": precision}) for kind in KINDS]
        text, documents = embedders
        expected = [text.run(TEXT), documents.run([Document(content=TEXT)])]
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            found = [pool.submit(text.run, TEXT), pool.submit(documents.run, [Document(content=TEXT)])]
            np.testing.assert_allclose(found[0].result()["embedding"], expected[0]["embedding"], atol=1e-5)
            (one,), (other,) = found[1].result()["documents"], expected[1]["documents"]
        np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-5)

    def test_kept_queries_are_left_behind(self, precision):
        embedder = MedTETextEmbedder(cached_queries=3, **{**OPTIONS, "precision": precision})
        expected = embedder.run(TEXT)
        assert pickle.loads(pickle.dumps(embedder)).run(TEXT) == expected


class TestSplitter:
    LONG = Document(
        id="report-7", content="\n\n" + f"{TEXT} " * 100 + "\f" + f"{TEXT} " * 100, meta={"title": "Report"}
    )

    async def test_run_and_run_async_give_pieces_that_say_where_they_stood(self):
        before = copy.deepcopy(self.LONG)
        splitter = MedTEDocumentSplitter(model="minilm", split_length=60, split_overlap=10)
        pieces = splitter.run([self.LONG])["documents"]
        assert pieces == (await splitter.run_async([self.LONG]))["documents"]
        assert before == self.LONG
        assert len(pieces) > 20
        for number, piece in enumerate(pieces):
            start, end = piece.meta["chunk_start"], piece.meta["chunk_end"]
            assert self.LONG.content[start:end] == piece.content
            assert piece.id == f"report-7#{number}"
            assert piece.meta == {
                "title": "Report",
                "parent_id": "report-7",
                "source_id": "report-7",
                "chunk_index": number,
                "split_id": number,
                "chunk_start": start,
                "chunk_end": end,
                "split_idx_start": start,
                "page_number": 1 if start < self.LONG.content.index("\f") else 2,
            }
        assert [piece.meta["page_number"] for piece in pieces][:: len(pieces) - 1] == [1, 2]

    def test_pieces_fit_the_model_with_the_title_before_them(self, caplog):
        splitter = MedTEDocumentSplitter(model="minilm", meta_fields_to_embed=["title"])
        embedder = MedTEDocumentEmbedder(meta_fields_to_embed=["title"], **OPTIONS)
        document = Document(content=self.LONG.content, meta={"title": "A title of some length " * 8})
        pieces = splitter.run([document])["documents"]
        embedder.run(pieces)
        assert len(pieces) > 5
        assert "lost their end" not in caplog.text

    def test_documents_without_text(self, caplog):
        empty = [Document(id="a", content=" "), Document(id="b"), Document(id="c", content="")]
        assert MedTEDocumentSplitter(model="minilm").run(empty) == {"documents": []}
        assert [f"Document {name} has no text" in caplog.text for name in "abc"] == [True] * 3
        keep = MedTEDocumentSplitter(model="minilm", skip_empty_documents=False)
        assert keep.run(empty)["documents"] == empty

    def test_order_over_several_documents(self):
        documents = [Document(id=name, content=f"{TEXT} " * 30) for name in "ba"]
        pieces = MedTEDocumentSplitter(model="minilm", split_length=100).run(documents)["documents"]
        assert [piece.meta["parent_id"] for piece in pieces] == sorted("ba" * (len(pieces) // 2), reverse=True)

    @pytest.mark.parametrize(("length", "overlap"), [(0, 0), (255, 0), (100, 51)])
    def test_numbers_that_do_not_fit(self, length, overlap):
        splitter = MedTEDocumentSplitter(model="minilm", split_length=length, split_overlap=overlap)
        with pytest.raises(EncoderOptionError, match=r"a chunk of|an overlap of"):
            splitter.warm_up()

    @pytest.mark.parametrize("bad", [None, TEXT, [TEXT], Document()])
    def test_something_else_than_a_list_of_documents(self, bad):
        with pytest.raises(TypeError, match="takes a list of Documents"):
            MedTEDocumentSplitter(model="nobody/nothing").run(bad)
