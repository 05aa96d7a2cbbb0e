"""What people use today, as a worker loads it. Imports nothing of medte."""

import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Backend = Literal["torch", "onnx", "openvino"]
_BACKENDS: dict[Backend, tuple[str, ...]] = {
    "torch": (),
    "onnx": ("onnxruntime", "optimum-onnx"),
    "openvino": ("openvino", "optimum-intel"),
}


class SentenceTransformersWay:
    """`SentenceTransformer.encode`.

    :param folder: Model folder.
    :param device: ``cpu`` or ``cuda``.
    :param precision: ``fp32`` or ``bf16``, of the torch backend.
    :param backend: ``torch``, ``onnx`` or ``openvino``; the latter two convert the model while loading.
    """

    def __init__(self, folder: str, device: str, precision: str = "fp32", backend: Backend = "torch") -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        self._backend = backend
        self._precision = precision
        self._model = SentenceTransformer(
            folder,
            device=device,
            backend=backend,
            model_kwargs={"dtype": torch.bfloat16} if precision == "bf16" else {},
        )

    def about(self) -> dict[str, Any]:
        """Return the precision it computes in, as far as it tells, and the versions."""
        names = ("sentence-transformers", "transformers", "torch", *_BACKENDS[self._backend])
        precision = self._openvino_precision() if self._backend == "openvino" else self._precision
        return {"precision": precision, "versions": versions(names)}

    def encode(self, texts: list[str], batch_size: int) -> tuple[float, NDArray[Any]]:
        """Encode texts as its users do."""
        started = time.perf_counter()
        vectors = self._model.encode(texts, batch_size=batch_size, show_progress_bar=False)
        return time.perf_counter() - started, np.asarray(vectors)

    def time_queries(self, queries: Sequence[str]) -> dict[str, list[float]]:
        """Return the seconds of `encode` for each query; the first is encoded once beforehand."""
        self._model.encode(queries[0], show_progress_bar=False)
        seconds = []
        for query in queries:
            started = time.perf_counter()
            self._model.encode(query, show_progress_bar=False)
            seconds.append(time.perf_counter() - started)
        return {"sentence-transformers encode": seconds}

    def _openvino_precision(self) -> str:
        """Return what OpenVINO chose for this processor: bf16 where it has it, although the model is in fp32."""
        model: Any = self._model[0].auto_model
        if model.request is None:
            model.compile()
        chosen = model.request.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        return {"f32": "fp32"}.get(chosen, str(chosen))


class HaystackWay:
    """Haystack's `SentenceTransformersDocumentEmbedder.run`, as its users call it.

    :param folder: Model folder.
    :param device: ``cpu`` or ``cuda``.
    """

    def __init__(self, folder: str, device: str) -> None:
        from haystack.utils import ComponentDevice
        from haystack_integrations.components.embedders.sentence_transformers import (
            SentenceTransformersDocumentEmbedder,
        )

        self._embedder = SentenceTransformersDocumentEmbedder(
            model=folder, device=ComponentDevice.from_str(device), progress_bar=False
        )
        self._embedder.warm_up()

    def about(self) -> dict[str, Any]:
        """Return precision and versions."""
        names = ("haystack-ai", "sentence-transformers-haystack", "sentence-transformers", "transformers", "torch")
        return {"precision": "fp32", "versions": versions(names)}

    def encode(self, texts: list[str], batch_size: int) -> tuple[float, NDArray[Any]]:
        """Embed Documents; making them and reading their vectors does not count."""
        from haystack import Document

        self._embedder.batch_size = batch_size
        documents = [Document(id=str(number), content=text) for number, text in enumerate(texts)]
        started = time.perf_counter()
        embedded = self._embedder.run(documents)["documents"]
        return time.perf_counter() - started, np.asarray([document.embedding for document in embedded])


def versions(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
