"""Which vector space a model name stands for, without loading its weights."""

from medte_haystack.encoder.files import locate
from medte_haystack.encoder.models import find_row
from medte_haystack.errors import ModelNotAvailableError
from medte_haystack.index import Fingerprint


def fingerprint_of_model(model: str | None) -> Fingerprint | None:
    """Return the fingerprint of a registry row, a local folder or a hub id.

    A registry row's model need not be on this machine. Where it is, its own files decide, as they do when it is loaded.

    :param model: None gives None.
    :raises ModelNotAvailableError: If it is none of the registry and its files cannot be had.
    """
    if model is None:
        return None
    row = find_row(model)
    try:
        files = locate(model, local_files_only=row is not None)
    except ModelNotAvailableError:
        if row is None:
            raise
        return Fingerprint.of_spec(row)
    return Fingerprint.of_spec(files.spec, weights_sha256=files.weights_sha256())
