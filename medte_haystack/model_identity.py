"""Which vector space a model name stands for, without loading its weights."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from medte_haystack.encoder.files import locate
from medte_haystack.encoder.models import find_row
from medte_haystack.errors import ModelError, ModelNotAvailableError
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


def fingerprint_of_vectors(model: str, dim: int) -> Fingerprint:
    """Return the fingerprint of ready-made vectors by what is said of them. Nothing is loaded or fetched.

    Pooling and prefixes are those of the registry's row, or of the model's own files where these are on this machine.
    A name that is neither in the registry nor a folder stands for itself: what is not known is not compared. Which
    revision, and weights, made the vectors is never known.

    :param model: Registry name, folder, hub id, or any other name.
    :param dim: Dimensions of the vectors.
    :raises ModelError: If that model makes vectors of other dimensions, or the folder is no model folder.
    """
    spec = find_row(model)
    if spec is not None or Path(model).expanduser().is_dir():
        with suppress(ModelNotAvailableError):
            spec = locate(model, local_files_only=True).spec
    if spec is None:
        return Fingerprint(model=model, dim=dim, pooling=None, query_prefix=None, passage_prefix=None)
    if spec.dim != dim:
        raise ModelError(
            f"model {model!r} makes vectors of {spec.dim} dimensions, these have {dim}; name the model that made them",
            expected=spec.dim,
            found=dim,
        )
    return replace(Fingerprint.of_spec(spec), revision=None)
