"""Whether a configuration fits the machine and the pairs."""

import logging

import torch

from medte_haystack.errors import TrainingConfigError
from medte_haystack.training.config import Config, Data
from medte_haystack.training.table import PairTable

logger = logging.getLogger(__name__)


def check_device(config: Config, device: str) -> None:
    """Check that a device is there and computes in what it shall.

    :raises TrainingConfigError: If not.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingConfigError("run.device is 'cuda', and there is no GPU that PyTorch can use; take 'cpu'")
    if (
        device == "cuda"
        and config.run.precision == "bf16"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise TrainingConfigError("run.precision is 'bf16', which this GPU does not have; take 'fp32'")


def check_data(data: Data, table: PairTable) -> None:
    """Check what the configuration says of the data against the data, and tell what of it is not used.

    :raises TrainingConfigError: If it does not fit.
    """
    names = [source.name for source in table.sources]
    if odd := sorted(set(data.weights) - set(names)):
        raise TrainingConfigError(f"data.weights names {odd[0]!r}, which is no source; there are {', '.join(names)}")
    if data.negatives and not any(source.with_negatives for source in table.sources):
        raise TrainingConfigError(
            f"data.negatives is {data.negatives}, and no pair has hard negatives; make some with"
            " `medte-train mine`, or set it to 0"
        )
    if table.unused:
        logger.warning("hard negatives of %d pairs are not used: data.negatives is 0", table.unused)
    for source in table.sources:
        if source.incomplete:
            left = (source.incomplete, source.name, data.negatives)
            logger.warning("%d pairs of %s have fewer than %d hard negatives and are left out", *left)
