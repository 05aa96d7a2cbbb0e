"""Token vectors -> one unit vector a text."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from medte_haystack.encoder.models import Pooling


def pool(states: "Tensor", mask: "Tensor", pooling: "Pooling") -> "Tensor":
    """Pool and scale to length 1, computed in float32.

    :param states: Last hidden states, shape (n, tokens, dim).
    :param mask: 1 for a token, 0 for padding, shape (n, tokens).
    :param pooling: ``mean`` over a text's tokens (special tokens included, as sentence-transformers does), or ``cls``.
    :returns: Shape (n, dim), float32.
    """
    from torch.nn.functional import normalize

    states = states.float()
    if pooling == "cls":
        return normalize(states[:, 0], dim=1)
    weights = mask.unsqueeze(-1).to(states.dtype)
    return normalize((states * weights).sum(1) / weights.sum(1).clamp(min=1e-9), dim=1)
