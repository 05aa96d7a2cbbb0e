import json
import logging
from pathlib import Path
from typing import Any

import pytest

from es_ingest.records import ReadError
from medte_eval.tasks.benchmark import BENCHMARK
from medte_eval.tasks.building.share import names_built, pull, push
from medte_eval.tasks.built import open_built
from tests.eval.tasks.conftest import Make

PUBLIC, PRIVATE = "TrialsTitleOutcomesRetrieval", "MimicComplaintDiagnosisRetrieval"


@pytest.fixture
def data_dir(builder: Make, tmp_path: Path) -> Path:
    for name in (PUBLIC, PRIVATE):
        builder().build(BENCHMARK[name])
    return tmp_path / "tasks"


def test_there_and_back_by_a_folder(data_dir: Path, tmp_path: Path) -> None:
    place = push(data_dir, PUBLIC, str(tmp_path / "shared"))
    folder = pull(tmp_path / "other", PUBLIC, str(tmp_path / "shared"))

    assert (Path(place), folder) == (tmp_path / "shared" / PUBLIC, tmp_path / "other" / PUBLIC)
    first, second = open_built(data_dir / PUBLIC), open_built(folder)
    for task in (first, second):
        task.load_data()
    assert first.metadata.dataset["revision"] == second.metadata.dataset["revision"]


def test_notes_go_to_a_folder_with_a_warning_and_never_to_the_hub(
    data_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medte_eval.tasks.building.share.logger", logging.getLogger("shared"))
    push(data_dir, PRIVATE, str(tmp_path / "shared"))
    assert "must not be shared" in caplog.text
    assert (tmp_path / "shared" / PRIVATE).stat().st_mode & 0o077 == 0

    monkeypatch.setattr("huggingface_hub.HfApi", None)  # not even asked
    path = data_dir / PRIVATE / "manifest.json"
    path.write_text(path.read_text().replace("must not be shared", "may be shared"))
    with pytest.raises(ReadError, match=r"does not go to the hub"):
        push(data_dir, PRIVATE, "hub:me/tasks")


def test_a_damaged_task_is_neither_pushed_nor_pulled(data_dir: Path, tmp_path: Path) -> None:
    push(data_dir, PUBLIC, str(tmp_path / "shared"))
    (data_dir / PUBLIC / "corpus.parquet").write_text("x")
    (tmp_path / "shared" / PUBLIC / "manifest.json").unlink()

    with pytest.raises(ReadError, match="missing or damaged"):
        push(data_dir, PUBLIC, str(tmp_path / "elsewhere"))
    with pytest.raises(ReadError, match="is no built task"):
        pull(tmp_path / "other", PUBLIC, str(tmp_path / "shared"))
    assert not (tmp_path / "other").exists()


def test_a_task_is_not_copied_onto_itself(data_dir: Path) -> None:
    with pytest.raises(ReadError, match="is where it shall go"):
        push(data_dir, PUBLIC, str(data_dir))
    assert open_built(data_dir / PUBLIC)


def test_the_hub_gets_the_folder_and_a_private_data_set(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Api:
        def __init__(self, endpoint: str | None) -> None: ...

        def create_repo(self, repository: str, **given: Any) -> None:
            seen["made"] = repository, given["repo_type"], given["private"], given["exist_ok"]

        def upload_folder(self, **given: Any) -> None:
            seen["uploaded"] = given["repo_id"], given["path_in_repo"], given["folder_path"], given["repo_type"]

    monkeypatch.setattr("huggingface_hub.HfApi", Api)

    assert push(data_dir, PUBLIC, "hub:me/tasks") == f"hub:me/tasks/{PUBLIC}"
    assert seen["made"] == ("me/tasks", "dataset", True, True)
    assert seen["uploaded"] == ("me/tasks", PUBLIC, data_dir / PUBLIC, "dataset")


def test_a_task_comes_from_the_hub(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def snapshot(repository: str, **given: Any) -> str:
        asked.append((repository, given["repo_type"], given["allow_patterns"]))
        return str(data_dir)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)

    folder = pull(tmp_path / "other", PUBLIC, "hub:me/tasks")

    assert asked == [("me/tasks", "dataset", [f"{PUBLIC}/*"])]
    assert json.loads((folder / "manifest.json").read_text())["name"] == PUBLIC


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://localhost:1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("no_hub")
def test_without_a_network_it_is_one_message(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"hub:me/tasks: the hub does not do it: .*\n.*or use a folder"):
        push(data_dir, PUBLIC, "hub:me/tasks")
    with pytest.raises(ReadError, match="hub:me/tasks: the hub does not do it"):
        pull(tmp_path / "other", PUBLIC, "hub:me/tasks")


def test_names_of_what_is_built(data_dir: Path, builder: Make) -> None:
    builder().build(BENCHMARK["PubMedPair"])

    assert list(names_built(data_dir, ["MedTEB"])) == ["PubMedPair.LLMFree", PRIVATE, PUBLIC]
    assert list(names_built(data_dir, ["PubMedPair"])) == ["PubMedPair.LLMFree"]
    with pytest.raises(ReadError, match="MedQAPair: is not built in"):
        list(names_built(data_dir, ["MedQAPair"]))
