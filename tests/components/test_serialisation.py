"""Components as dictionaries and YAML, and what their constructors do not do."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from haystack import Document, Pipeline, component
from haystack.utils import ComponentDevice, Secret
from haystack_integrations.components.embedders.sentence_transformers import (
    SentenceTransformersDocumentEmbedder,
    SentenceTransformersTextEmbedder,
)
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from medte_haystack import (
    MedTEDocumentEmbedder,
    MedTEDocumentSplitter,
    MedTEDocumentStore,
    MedTEEmbeddingRetriever,
    MedTEHybridRetriever,
    MedTETextEmbedder,
)
from medte_haystack.components.shared_encoder import device_name
from medte_haystack.encoder import locate
from medte_haystack.errors import EncoderOptionError, IndexContractError

TOKEN = {"type": "env_var", "env_vars": ["HF_API_TOKEN", "HF_TOKEN"], "strict": False}
API_KEY = {"type": "env_var", "env_vars": ["ELASTIC_API_KEY"], "strict": False}
API_KEY_ID = {"type": "env_var", "env_vars": ["ELASTIC_API_KEY_ID"], "strict": False}
NOWHERE = "http://127.0.0.1:1"

EMBEDDER = {
    "model": "medte",
    "device": None,
    "token": TOKEN,
    "prefix": None,
    "suffix": "",
    "batch_size": None,
    "progress_bar": False,
    "normalize_embeddings": True,
    "local_files_only": False,
    "truncate_dim": None,
    "tokenizer_kwargs": None,
    "precision": "auto",
    "revision": None,
}
STORE = {
    "hosts": NOWHERE,
    "custom_mapping": None,
    "index": "articles",
    "api_key": API_KEY,
    "api_key_id": API_KEY_ID,
    "embedding_similarity_function": None,
    "sparse_vector_field": None,
    "ingest_pipeline": None,
    "model": "minilm",
    "quantisation": "bbq",
    "analyzer": "auto",
    "shards": 1,
    "replicas": None,
    "request_timeout": 5,
}
SPLITTER = {
    "model": "minilm",
    "split_length": 100,
    "split_overlap": 10,
    "meta_fields_to_embed": ["title"],
    "skip_empty_documents": False,
    "revision": None,
    "token": TOKEN,
    "local_files_only": True,
}
EVERY_EMBEDDER_OPTION = {
    "model": "someone/model",
    "device": ComponentDevice.from_str("cuda:1"),
    "token": Secret.from_env_var("MY_TOKEN", strict=False),
    "prefix": "query: ",
    "suffix": ".",
    "batch_size": 4,
    "progress_bar": True,
    "local_files_only": True,
    "truncate_dim": 128,
    "tokenizer_kwargs": {"model_max_length": 100},
    "precision": "bf16",
    "revision": "main",
}
WHERE = "medte_haystack.components"


def store() -> MedTEDocumentStore:
    return MedTEDocumentStore(hosts=NOWHERE, index="articles", model="minilm", quantisation="bbq", request_timeout=5)


def splitter() -> MedTEDocumentSplitter:
    return MedTEDocumentSplitter(
        model="minilm",
        split_length=100,
        split_overlap=10,
        meta_fields_to_embed=["title"],
        skip_empty_documents=False,
        local_files_only=True,
    )


class TestToDict:
    def test_text_embedder(self):
        own = {"cached_queries": 0}
        expected = {"type": f"{WHERE}.text_embedder.MedTETextEmbedder", "init_parameters": {**EMBEDDER, **own}}
        assert MedTETextEmbedder().to_dict() == expected

    def test_document_embedder(self):
        own = {"meta_fields_to_embed": [], "embedding_separator": "\n"}
        expected = {
            "type": f"{WHERE}.document_embedder.MedTEDocumentEmbedder",
            "init_parameters": {**EMBEDDER, **own},
        }
        assert MedTEDocumentEmbedder().to_dict() == expected

    def test_splitter(self):
        expected = {"type": f"{WHERE}.document_splitter.MedTEDocumentSplitter", "init_parameters": SPLITTER}
        assert splitter().to_dict() == expected

    def test_store(self):
        expected = {"type": f"{WHERE}.document_store.MedTEDocumentStore", "init_parameters": STORE}
        assert store().to_dict() == expected

    def test_retriever(self):
        assert MedTEEmbeddingRetriever(document_store=store(), model="minilm").to_dict() == {
            "type": f"{WHERE}.embedding_retriever.MedTEEmbeddingRetriever",
            "init_parameters": {
                "document_store": {"type": f"{WHERE}.document_store.MedTEDocumentStore", "init_parameters": STORE},
                "filters": {},
                "top_k": 10,
                "num_candidates": None,
                "filter_policy": "replace",
                "return_embedding": False,
                "model": "minilm",
                "oversample": None,
                "min_similarity": None,
                "exact": False,
                "collapse": False,
                "neighbours": 0,
                "explain": False,
            },
        }

    def test_hybrid_retriever(self):
        made = MedTEHybridRetriever(
            document_store=store(), fusion="weighted", weights=[2, 1], lexical_fields=["content"]
        )
        assert made.to_dict() == {
            "type": f"{WHERE}.hybrid_retriever.MedTEHybridRetriever",
            "init_parameters": {
                "document_store": {"type": f"{WHERE}.document_store.MedTEDocumentStore", "init_parameters": STORE},
                "filters": {},
                "top_k": 10,
                "num_candidates": None,
                "filter_policy": "replace",
                "return_embedding": False,
                "model": None,
                "fusion": "weighted",
                "weights": [2, 1],
                "window": None,
                "lexical_fields": ["content"],
                "oversample": None,
                "min_similarity": None,
                "collapse": None,
                "neighbours": 0,
                "explain": False,
            },
        }


class TestDevices:
    @pytest.mark.parametrize(
        ("device", "written"),
        [
            ("cpu", {"type": "single", "device": "cpu"}),
            ("cuda:1", {"type": "single", "device": "cuda:1"}),
            ("cuda:0, cuda:1", {"type": "multiple", "device_map": {"cuda:0": "cuda:0", "cuda:1": "cuda:1"}}),
            ("cuda:all", "cuda:all"),
        ],
    )
    def test_strings_are_written_as_haystack_writes_devices(self, device, written):
        data = MedTETextEmbedder(device=device).to_dict()
        assert data["init_parameters"]["device"] == written
        again = MedTETextEmbedder.from_dict(data)
        assert device_name(again.device) == device.replace(" ", "")
        assert again.to_dict() == data

    def test_a_path_is_written_as_a_string(self):
        assert MedTETextEmbedder(model=Path("a")).to_dict()["init_parameters"]["model"] == "a"


class TestStockPipelines:
    """What Haystack's sentence-transformers embedders have written needs another type and nothing else."""

    STOCK = (
        (SentenceTransformersTextEmbedder, MedTETextEmbedder),
        (SentenceTransformersDocumentEmbedder, MedTEDocumentEmbedder),
    )

    @pytest.mark.parametrize(("stock", "ours"), STOCK)
    def test_every_option_of_the_stock_embedder_is_known(self, stock, ours):
        theirs = inspect.signature(stock.__init__).parameters.keys() - {"self"}
        assert theirs <= inspect.signature(ours).parameters.keys()

    @pytest.mark.parametrize(("stock", "ours"), STOCK)
    def test_a_dumped_pipeline_gives_the_same_vectors(self, stock, ours):
        folder = str(locate("minilm").folder)
        pipeline = Pipeline()
        pipeline.add_component(
            "embedder", stock(model=folder, device=ComponentDevice.from_str("cpu"), progress_bar=False)
        )
        text = pipeline.dumps()
        theirs = f"{stock.__module__}.{stock.__name__}"
        assert theirs in text
        again = Pipeline.loads(text.replace(theirs, f"{ours.__module__}.{ours.__name__}"))
        sentence = "Acromegaly is a disorder of growth."
        asked = {"text": sentence} if "Text" in stock.__name__ else {"documents": [Document(content=sentence)]}
        expected, found = (vector(one.run({"embedder": asked})["embedder"]) for one in (pipeline, again))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def vector(result):
    return result["embedding"] if "embedding" in result else result["documents"][0].embedding


class TestRoundTrip:
    @pytest.mark.parametrize(
        "made",
        [
            MedTETextEmbedder(cached_queries=100, **EVERY_EMBEDDER_OPTION),
            MedTEDocumentEmbedder(meta_fields_to_embed=["a"], embedding_separator=" ", **EVERY_EMBEDDER_OPTION),
            splitter(),
            store(),
            MedTEDocumentStore(index="a", api_key=Secret.from_env_var("KEY", strict=False), sparse_vector_field="s"),
            MedTEEmbeddingRetriever(document_store=store(), filter_policy="merge", top_k=3, return_embedding=True),
            MedTEHybridRetriever(document_store=store(), filter_policy="merge", window=40, neighbours=2, collapse=True),
        ],
        ids=lambda made: type(made).__name__,
    )
    def test_from_dict_gives_the_same_again(self, made):
        data = made.to_dict()
        again = type(made).from_dict(data)
        assert again.to_dict() == made.to_dict()
        assert data == made.to_dict()  # and leaves its input alone

    @pytest.mark.parametrize("kind", [MedTEDocumentStore, ElasticsearchDocumentStore])
    def test_a_retriever_comes_back_with_the_store_it_had(self, kind):
        retriever = MedTEEmbeddingRetriever(document_store=kind(hosts=NOWHERE, index="articles"))
        again = MedTEEmbeddingRetriever.from_dict(retriever.to_dict())
        assert type(again.document_store) is kind

    def test_yaml_in_a_fresh_process_that_only_imports_the_package(self):
        pipeline = Pipeline()
        pipeline.add_component("embed", MedTEDocumentEmbedder(**EVERY_EMBEDDER_OPTION))  # in the order that YAML has
        pipeline.add_component("hybrid", MedTEHybridRetriever(document_store=store(), weights=[0.7, 0.3]))
        pipeline.add_component("retriever", MedTEEmbeddingRetriever(document_store=store(), model="minilm"))
        pipeline.add_component("split", splitter())
        pipeline.add_component("text", MedTETextEmbedder(model="minilm"))
        pipeline.connect("split.documents", "embed.documents")
        pipeline.connect("text.embedding", "hybrid.query_embedding")
        pipeline.connect("text.embedding", "retriever.query_embedding")
        text = pipeline.dumps()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HAYSTACK_")}
        script = "import sys, medte_haystack; from haystack import Pipeline\n"
        script += "sys.stdout.write(Pipeline.loads(sys.stdin.read()).dumps())"
        done = subprocess.run(
            [sys.executable, "-c", script], input=text, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == text


def test_importing_the_package_loads_neither_haystack_nor_torch():
    script = "import sys, medte_haystack; print(sorted(set(sys.modules) & {'haystack', 'torch', 'elasticsearch'}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_the_environment_trusts_stays_trusted():
    script = "import os, medte_haystack; print(os.environ['HAYSTACK_DESERIALIZATION_ALLOWLIST'])"
    environment = {**os.environ, "HAYSTACK_DESERIALIZATION_ALLOWLIST": "mine.*, medte_haystack"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "mine.*, medte_haystack"
    environment["HAYSTACK_DESERIALIZATION_ALLOWLIST"] = "mine.*"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "mine.*,medte_haystack"


class TestConstructors:
    def test_need_neither_the_model_nor_the_server(self):
        nothing = "nobody/no-such-model"
        assert MedTETextEmbedder(model=nothing).encoder is None
        assert MedTEDocumentEmbedder(model=nothing).encoder is None
        assert MedTEDocumentSplitter(model=nothing).splitter is None
        made = MedTEDocumentStore(hosts=NOWHERE, model=nothing)
        assert made._client is None
        assert MedTEEmbeddingRetriever(document_store=made, model=nothing).document_store._client is None

    @pytest.mark.parametrize("kind", [MedTETextEmbedder, MedTEDocumentEmbedder])
    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({"trust_remote_code": True}, "trust_remote_code=True is refused"),
            ({"backend": "onnx"}, "backend 'onnx' is not known"),
            ({"precision": "ubinary"}, "quantise the index instead"),
            ({"precision": "binary"}, "quantise the index instead"),
            ({"model_kwargs": {"torch_dtype": "float16"}}, r"model_kwargs \(torch_dtype\) cannot be honoured"),
            ({"config_kwargs": {"a": 1}}, r"config_kwargs \(a\) cannot be honoured"),
            ({"encode_kwargs": {"a": 1}}, r"encode_kwargs \(a\) cannot be honoured"),
            ({"quantization_ranges": [[0.0], [1.0]]}, "quantization_ranges cannot be honoured"),
            ({"precision": "fp7"}, "precision 'fp7' is unknown; there are auto, fp32"),
            ({"precision": None}, "precision None is unknown"),
            ({"tokenizer_kwargs": {"model_max_length": "many"}}, "model_max_length is 'many'; take a whole number"),
            ({"model": None}, "model is None; give a string"),
            ({"prefix": 5}, "prefix is 5; give a string"),
            ({"suffix": None}, "suffix is None; give a string"),
            ({"batch_size": 0}, "batch_size is 0; take a whole number of 1 or more"),
            ({"batch_size": 2.5}, "batch_size is 2.5"),
            ({"truncate_dim": 0}, "truncate_dim is 0"),
            ({"device": "tpu"}, "device 'tpu' is unknown; take a ComponentDevice or one of cpu, cuda"),
            ({"device": 3}, "device 3 is unknown"),
            ({"tokenizer_kwargs": {"do_lower_case": True}}, "tokenizer_kwargs do_lower_case cannot be honoured"),
        ],
    )
    def test_options_that_cannot_be_honoured_are_refused(self, kind, options, why):
        with pytest.raises(EncoderOptionError, match=why):
            kind(**options)

    def test_options_of_the_stock_embedders_that_change_nothing_are_taken(self):
        MedTETextEmbedder(trust_remote_code=False, backend="torch", precision="float32", model_kwargs={})

    def test_unnormalised_vectors_are_not_silently_given_up(self, caplog):
        MedTETextEmbedder(normalize_embeddings=False)
        assert "normalize_embeddings=False has no effect" in caplog.text

    @pytest.mark.parametrize("number", [-1, None, 2.5, True])
    def test_a_wrong_number_of_cached_queries(self, number):
        with pytest.raises(EncoderOptionError, match=f"cached_queries is {number}; take a whole number of 0 or more"):
            MedTETextEmbedder(cached_queries=number)

    def test_a_misspelt_option(self):
        with pytest.raises(TypeError, match="no option 'batchsize'; did you mean 'batch_size'"):
            MedTEDocumentEmbedder(batchsize=3)
        with pytest.raises(TypeError, match="no option 'zzz'; there are model, device"):
            MedTETextEmbedder(zzz=3)

    def test_a_subclass_may_take_what_it_likes(self):
        @component
        class Mine(MedTETextEmbedder):
            def __init__(self, *, extra, **options):
                """Take extra."""
                MedTETextEmbedder.__init__(self, **options)
                self.extra = extra

        assert Mine(extra=3, model="minilm").model == "minilm"
        assert Mine.__init__.__doc__ == "Take extra."

    @pytest.mark.parametrize("kind", [MedTETextEmbedder, MedTEDocumentEmbedder])
    def test_the_signature_says_the_options(self, kind):
        parameters = inspect.signature(kind).parameters
        assert parameters["precision"].default == "auto"
        assert parameters["batch_size"].annotation == int | None
        assert not {"args", "kwargs", "options", "self", "encoder"} & set(parameters)
        documented = kind.__doc__ + kind.__init__.__doc__
        assert [name for name in parameters if f":param {name}:" not in documented] == []

    def test_a_store_checks_what_it_can(self):
        with pytest.raises(IndexContractError, match="'int2' is unknown"):
            MedTEDocumentStore(quantisation="int2")
        with pytest.raises(IndexContractError, match="exclude each other"):
            MedTEDocumentStore(model="minilm", custom_mapping={"properties": {}})

    def test_a_retriever_takes_no_other_store(self):
        with pytest.raises(TypeError, match="document_store is a dict; it must be a MedTEDocumentStore"):
            MedTEEmbeddingRetriever(document_store={})
