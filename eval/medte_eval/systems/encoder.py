"""The encoder alone: whole documents, cut at the model's length, and exact search by mteb itself."""

import time
from collections.abc import Iterator, Sized
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta
from mteb.types import PromptType
from numpy.typing import NDArray

from medte_eval.systems.system import Measured, ShowProgress, model_meta, silent
from medte_haystack.encoder import Encoder, Kind

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.types import BatchedInput
    from torch.utils.data import DataLoader

_KINDS: dict[PromptType | None, Kind | None] = {PromptType.query: "query", PromptType.document: "passage", None: None}


class EncoderSystem(AbsEncoder):
    """Our encoder behind mteb's EncoderProtocol, as published scores are made.

    mteb joins title and text by one blank, and searches with its own `SearchEncoderWrapper`. A prefix that the model
    wants is put before queries and passages; texts that are neither (of classification, say) get none.

    :param encoder: The model.
    :param show: Shows how far encoding the documents is.
    """

    name = "encoder"
    timed = "encoding alone"
    mteb_model_meta: ModelMeta

    def __init__(self, encoder: Encoder, *, show: ShowProgress = silent) -> None:
        self.encoder = self.model = encoder
        self.measured = Measured()
        self.mteb_model_meta = model_meta(encoder)
        self._show = show

    def begin(self) -> None:
        """Forget the task before."""
        self.measured = Measured()

    def settings(self) -> dict[str, Any]:
        """Return nothing: the model is all there is."""
        return {}

    def details(self) -> dict[str, Any]:
        """Return nothing, for the same reason."""
        return {}

    def refusal(self, task_type: str) -> str | None:  # noqa: ARG002
        """Return None: it runs all types of tasks."""
        return None

    def answer(self, text: str, top_k: int) -> None:  # noqa: ARG002
        """Encode one query; mteb searches by itself, with all queries at once."""
        self.encoder.encode_one(text)

    def encode(
        self,
        inputs: "DataLoader[BatchedInput]",
        *,
        task_metadata: "TaskMetadata",  # noqa: ARG002  mteb's signature
        hf_split: str,  # noqa: ARG002
        hf_subset: str,  # noqa: ARG002
        prompt_type: PromptType | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Encode mteb's texts.

        :param inputs: Batches with a list of strings under ``text``.
        :param prompt_type: Query, document or neither.
        :returns: Unit vectors, float32, shape (n, dim).
        """

        def texts() -> Iterator[str]:
            for batch in inputs:
                yield from batch["text"]

        number = len(cast(Sized, inputs.dataset))
        vectors = np.empty((number, self.encoder.dim), dtype=np.float32)
        started, before = time.perf_counter(), self.encoder.stats
        with self._show(lambda: range(number)) as progress:
            for row, vector in enumerate(self.encoder.encode_stream(texts(), _KINDS[prompt_type])):
                vectors[row] = vector
                tokens = (self.encoder.stats - before).tokens
                progress.update(records=row + 1, chunks=row + 1, tokens=tokens)
        if prompt_type is not PromptType.query:
            cut = (self.encoder.stats - before).truncated
            self.measured += Measured(number, number, cut, time.perf_counter() - started)
        return vectors
