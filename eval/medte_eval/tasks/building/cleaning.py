"""How texts are cleaned: as the benchmark does, its slips included, since scores depend on it."""

import re

_BEFORE_COLON = re.compile(r"[^a-zA-Z0-9\s]:")  # the benchmark's slip: the colon was meant to stand inside the brackets
_PUNCTUATION = re.compile(r"[^a-zA-Z0-9\s:]")
_BLANKS = re.compile(r"\s+")


def clean_wikipedia(text: str) -> str:
    """Return a section in lower case and on one line, without colons that follow a sign, and those signs.

    A sign is a character that is no ASCII letter or digit and no white space. All others stay.
    """
    return _on_one_line(_BEFORE_COLON.sub("", text))


def clean_pmc(text: str) -> str:
    """Return an article in lower case and on one line, with ASCII letters, digits and colons alone."""
    return _on_one_line(_PUNCTUATION.sub("", text))


def _on_one_line(text: str) -> str:
    return _BLANKS.sub(" ", text).strip().lower()
