"""What a result is made of: the ranking of every query, and what was measured of every query, pair or text."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Run = dict[str, dict[str, float]]
"""Query ids to document ids to scores."""
Qrels = dict[str, dict[str, int]]
"""Query ids to document ids to grades."""


@dataclass(frozen=True, slots=True)
class Items:
    """The parts of a result.

    :param rows: One a query, pair or text: ``id``, and what is measured of it; none where nothing can be.
    :param run: The rankings of a retrieval task.
    :param qrels: Its judgements.
    """

    rows: tuple[dict[str, Any], ...] = ()
    run: Run = field(default_factory=dict)
    qrels: Qrels = field(default_factory=dict)


def trec_run(run: Run, tag: str) -> Iterator[str]:
    """Give the lines of a run file; blanks in ids are written as ``%20``.

    Equal scores are ranked as trec_eval does, by id, the last first.
    """
    for query, scores in run.items():
        ranked = sorted(scores.items(), key=lambda one: (one[1], one[0]), reverse=True)
        for rank, (item, score) in enumerate(ranked, start=1):
            yield f"{trec_word(query)} Q0 {trec_word(item)} {rank} {score!r} {trec_word(tag)}\n"


def trec_qrels(qrels: Qrels) -> Iterator[str]:
    """Give the lines of a file of judgements; see :func:`trec_run`."""
    for query, grades in qrels.items():
        for item, grade in grades.items():
            yield f"{trec_word(query)} 0 {trec_word(item)} {grade}\n"


def trec_word(text: str) -> str:
    """Return an id as it stands in such files."""
    return "".join(f"%{ord(one):02X}" if one.isspace() else one for one in text)
