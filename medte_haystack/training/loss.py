"""The loss: InfoNCE on cosines, over all texts 2 and hard negatives of a batch.

For pairs of unit vectors (a_i, p_i), hard negatives h_k and temperature t: the mean over i of the cross-entropy of
softmax_j(a_i . c_j / t) against c_i = p_i, where c are all p and h (van den Oord et al., 2018,
https://arxiv.org/abs/1807.03748); symmetric, the mean of this and of softmax_j(a_j . p_i / t) against j = i.
"""

from functools import partial
from typing import TYPE_CHECKING

from medte_haystack.errors import TrainingConfigError
from medte_haystack.training.config import Loss

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn


def make_loss(
    model: "SentenceTransformer", options: Loss, batch: int, *, negatives: int = 0, devices: int = 1
) -> "nn.Module":
    """Make the loss that the options ask for.

    A batch that is computed whole needs no cached gradients (https://arxiv.org/abs/2101.06983), which cost a second
    forward pass.

    :param batch: Most pairs of a batch on one device.
    :param negatives: Most hard negatives of a pair, which are computed together with the texts 2.
    :param devices: How many there are; they then exchange their texts as negatives.
    :raises TrainingConfigError: If the model lacks a dimension of `matryoshka`.
    """
    from sentence_transformers.sentence_transformer import losses

    whole = options.mini_batch >= batch * (1 + negatives) and options.mini_batch_tokens is None
    cached = partial(
        losses.CachedMultipleNegativesRankingLoss,
        mini_batch_size=options.mini_batch,
        mini_batch_num_tokens=options.mini_batch_tokens,
    )
    loss: nn.Module = (losses.MultipleNegativesRankingLoss if whole else cached)(
        model,
        scale=1 / options.temperature,
        directions=("query_to_doc", "doc_to_query") if options.symmetric else ("query_to_doc",),
        partition_mode="per_direction",
        gather_across_devices=devices > 1,
    )
    if not options.matryoshka:
        return loss
    dim = model.get_embedding_dimension()
    if dim not in options.matryoshka or max(options.matryoshka) != dim:
        raise TrainingConfigError(
            f"loss.matryoshka is {list(options.matryoshka)}, and the model has {dim} dimensions; name {dim} and smaller"
            " ones"
        )
    return losses.MatryoshkaLoss(
        model, loss, matryoshka_dims=options.matryoshka, matryoshka_weights=options.matryoshka_weights or None
    )
