"""The file of a pipeline, read before a server is started and a model loaded for it."""

from pathlib import Path
from typing import Any

import yaml

from medte_eval.systems import UnknownSystemError


def read_pipeline(file: Path) -> dict[str, Any]:
    """Read a serialised Haystack pipeline.

    :raises UnknownSystemError: If it cannot be read, or is none.
    """
    try:
        found = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise UnknownSystemError(f"{file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnknownSystemError(f"{file} is no YAML: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("components"), dict):
        raise UnknownSystemError(f"{file} describes no Haystack pipeline: it has no components")
    return found
