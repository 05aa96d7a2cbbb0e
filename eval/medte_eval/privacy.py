"""Clinical notes stay on this machine: a system that would send them elsewhere does not get them by itself."""

from collections.abc import Callable

from es_ingest.cluster.connection import is_loopback
from medte_eval.systems import ChosenSystem
from medte_eval.tasks.benchmark import is_public

ALLOWED_BY = "--notes-may-leave"
_SENT = ("Retrieval", "PairClassification")
"""Types of tasks whose texts go into an index or a pipeline; those of the others are the model's alone."""


def why_refused(task: str, kind: str, chosen: ChosenSystem, server: Callable[[], str]) -> str | None:
    """Return why a system does not get the texts of a task; None if it does.

    :param task: The task's name.
    :param kind: mteb's type of it.
    :param server: Returns the URL of the server; called only where it counts.
    """
    if kind not in _SENT or is_public(task):
        return None
    if chosen.row.name == "pipeline":
        where = f"{chosen.name} may send its queries anywhere"
    elif chosen.row.uses_server and not is_loopback(url := server()):
        where = f"the server {url} is not on it (--es local is)"
    else:
        return None
    return (
        f"{task} is of clinical notes, which do not leave this machine, and {where}; give {ALLOWED_BY} if the data use"
        " agreement covers where they go"
    )
