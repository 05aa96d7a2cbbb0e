"""Rows -> padded token ids, in the order that wastes least."""

from collections.abc import Sequence

import torch
from torch import Tensor

from medte_haystack.encoder.tokenise import Tokeniser
from medte_haystack.training.table import Row


class Collator:
    """Makes the model's inputs of a batch's rows.

    Rows are sorted by their texts 2 and hard negatives among themselves, both by length: of a batch that is computed
    in mini-batches each is then padded to its own longest text alone. The loss does not depend on the order.

    :param anchors: Tokenises texts 1.
    :param passages: Tokenises texts 2 and hard negatives.
    :param anchor_prefix: Put before texts 1.
    :param passage_prefix: Put before the others.
    :param padding: Token id of padding.
    """

    def __init__(
        self,
        anchors: Tokeniser,
        passages: Tokeniser,
        anchor_prefix: str = "",
        passage_prefix: str = "",
        padding: int = 0,
    ) -> None:
        self._anchors, self._passages = anchors, passages
        self._anchor_prefix, self._passage_prefix = anchor_prefix, passage_prefix
        self._padding = padding

    def __call__(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """Return token ids and attention masks, int64, shape (texts, longest), of anchors, positives and negatives.

        There are as many anchors as positives, in the same order, and any number of negatives.
        """
        positives = self._tokens([row.positive for row in rows])
        order = sorted(range(len(rows)), key=lambda row: -len(positives[row]))  # if memory is short, then at once
        anchors = self._anchors([self._anchor_prefix + rows[row].anchor for row in order]).ids
        columns = {"anchor": anchors, "positive": [positives[row] for row in order]}
        if negatives := [text for row in rows for text in row.negatives]:
            columns["negative"] = sorted(self._tokens(negatives), key=len, reverse=True)
        return {f"{name}_{part}": tensor for name, ids in columns.items() for part, tensor in self._padded(ids).items()}

    def _tokens(self, passages: Sequence[str]) -> list[list[int]]:
        return self._passages([self._passage_prefix + text for text in passages]).ids

    def _padded(self, ids: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        longest = max(map(len, ids))
        padded = torch.full((len(ids), longest), self._padding)
        mask = torch.zeros((len(ids), longest), dtype=torch.int64)
        for row, one in enumerate(ids):
            padded[row, : len(one)] = torch.tensor(one)
            mask[row, : len(one)] = 1
        return {"input_ids": padded, "attention_mask": mask}
