"""Clinical notes stay on this machine unless they are allowed to leave it."""

from pathlib import Path
from typing import Any

import pytest
from mteb.abstasks import AbsTask

from es_ingest.cluster import Connection
from es_ingest.faults import Exit
from medte_eval.commands.line import read_line
from medte_eval.privacy import why_refused
from medte_eval.session import Failure, Session, run_all
from medte_eval.systems import SystemOptions, find_systems
from medte_eval.systems.system import silent
from medte_eval.tasks.benchmark import BENCHMARK
from medte_haystack.encoder import Encoder

from .small_tasks import Pairs, metadata

ELSEWHERE = "https://search.example:9200"
NOTES = next(one for one in BENCHMARK.values() if one.source == "mimic" and one.kind == "PairClassification")


class Notes(Pairs):
    """Pairs under the name of a task of clinical notes."""

    metadata = metadata(NOTES.name, "PairClassification", "similarity_f1")


@pytest.mark.parametrize(
    ("url", "system", "kind", "told"),
    [
        (ELSEWHERE, "dense", "PairClassification", f"the server {ELSEWHERE} is not on it"),
        (ELSEWHERE, "bm25", "Retrieval", "--notes-may-leave"),
        ("http://127.0.0.2.example:9200", "exact", "Retrieval", "is not on it"),
        ("http://localhost:9200", "pipeline:q.yaml", "Retrieval", "pipeline:q.yaml may send its queries anywhere"),
        ("http://localhost:9200", "dense", "Retrieval", None),
        ("http://127.0.0.1:9200", "hybrid", "Retrieval", None),
        ("http://[::1]:9200", "bm25", "Retrieval", None),
        (ELSEWHERE, "encoder", "Retrieval", None),
        (ELSEWHERE, "dense", "Classification", None),
    ],
)
def test_notes_go_to_this_machine_alone(
    url: str, system: str, kind: str, told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "q.yaml").write_text("components: {}")
    monkeypatch.chdir(tmp_path)
    (chosen,) = find_systems([system], SystemOptions())

    why = why_refused(NOTES.name, kind, chosen, lambda: url)

    assert (why is None) if told is None else (told in (why or ""))
    assert why_refused("MedQAPair", kind, chosen, lambda: url) is None
    assert why_refused("SciFact", kind, chosen, lambda: url) is None


def test_a_run_refuses_before_anything_is_opened_and_the_others_go_on(encoder: Encoder, tmp_path: Path) -> None:
    def run(tasks: list[AbsTask], systems: str, **more: Any) -> list[dict[str, Any] | Failure]:
        options = SystemOptions()
        server = Connection(ELSEWHERE, "url", version="9.0.0")
        with Session(lambda: server, None, lambda _: encoder, options, silent) as session:
            every = [(task.metadata.name, lambda task=task: task) for task in tasks]
            return list(run_all(every, find_systems(systems.split(","), options), session, out=tmp_path, **more))

    refused, done = run([Notes()], "dense,encoder")

    assert isinstance(refused, Failure)
    assert (refused.task, refused.system, refused.status) == (NOTES.name, "dense", Exit.USAGE)
    assert ELSEWHERE in refused.message
    assert isinstance(done, dict)
    assert len(list(tmp_path.glob("*.failed.json"))) == 1
    with pytest.raises(Exception, match=r"search\.example"):  # it is tried, and there is no such server
        run([Notes()], "dense", notes_may_leave=True)


def test_checks_have_the_option_too() -> None:
    line = "medte-eval run --tasks MedQuADRetrieval --system dense"

    assert not read_line(line).notes_may_leave
    assert read_line(f"{line} --notes-may-leave").notes_may_leave
