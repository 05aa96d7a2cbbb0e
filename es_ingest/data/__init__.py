"""Sample data that ships with the package; see the README beside it for its origin and licence."""

from importlib.resources import files
from pathlib import Path


def medquad_sample() -> Path:
    """Return the path of the MedQuAD sample: 2,839 answered questions of three NIH institutes, CC BY 4.0.

    Usage:

        records = read([str(medquad_sample())], "medquad")
    """
    return Path(str(files(__name__).joinpath("medquad-sample.tar.xz")))
