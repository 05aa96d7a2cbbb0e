"""MedMCQA, MedQA and MedQuAD: local copies of the hub's files, and a server that answers as the hub does."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from es_ingest.records import ReadError
from medte_eval.sources import medmcqa, medqa
from medte_eval.sources.errors import SourceError
from medte_eval.sources.medmcqa import HIDDEN, MedMCQA
from medte_eval.sources.medqa import MedQA
from medte_eval.sources.medquad import fetch_medquad, read_medquad
from tests.eval.sources.server import Query, Reply, Server

COMMIT = "a" * 40


def mcq(number: int, split: str) -> dict:
    return {
        "id": f"{split}-{number}",
        "question": f"Which vitamin is number {number}?",
        "opa": "None",
        "opb": "NA",
        "opc": "" if number == 1 else "Vitamin C",
        "opd": "Vitamin D",
        "cop": -1 if split == "test" else number % 4,
        "choice_type": "single",
        "exp": None if number == 2 or split == "test" else f"It is known {number}.",
        "subject_name": "Biochemistry",
        "topic_name": None,
    }


def usmle(number: int) -> dict:
    return {
        "question": f"A patient of {number} years comes. What now?",
        "answer": "Wait",
        "options": {"A": "Wait", "B": "Operate", "C": "Scan", "D": "None"},
        "meta_info": "step1",
        "answer_idx": "A" if number % 2 else "D",
        "metamap_phrases": ["patient"],
    }


def pair(number: int, answer: str | None) -> dict:
    return {
        "document_id": "0000013_2",
        "document_source": "CancerGov",
        "question_id": "0000013_2-1",
        "question_focus": "Thymoma",
        "question": f"What is it, {number}?",
        "answer": answer,
    }


def parquet(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def copy(tmp_path) -> Path:
    """MedMCQA as the hub has it."""
    folder = tmp_path / "medmcqa"
    for split in ("test", "train", "validation"):
        parquet(folder / "data" / f"{split}-00000-of-00001.parquet", [mcq(number, split) for number in range(3)])
    return folder


@pytest.fixture
def hub(server: Server, tmp_path, monkeypatch) -> Callable[[str, Path], None]:
    """Serve a folder's files as a data set of the hub, whose cache is the test's own."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")

    def serve(repository: str, folder: Path) -> None:
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        hashes = {name: hashlib.sha1(data).hexdigest() for name, data in files.items()}

        def api(path: str, query: Query) -> object:
            if path == f"/hub/api/datasets/{repository}/revision/main":
                return {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            if path == f"/hub/api/datasets/{repository}/tree/{COMMIT}":
                return [
                    {"type": "file", "path": name, "oid": hashes[name], "size": len(data)}
                    for name, data in files.items()
                ]
            name = path.removeprefix(f"/hub/datasets/{repository}/resolve/{COMMIT}/")
            if name in files:
                return Reply(body=files[name], headers={"ETag": f'"{hashes[name]}"', "X-Repo-Commit": COMMIT})
            return Reply(404)

        server.api = api

    return serve


class TestMedMCQA:
    def test_the_splits_come_in_order_whatever_the_files_are_called(self, access, copy):
        found = list(MedMCQA(replace(access, export=copy)).questions())

        assert [one.split for one in found] == ["train"] * 3 + ["validation"] * 3 + ["test"] * 3
        assert found[0].id == "train-0"
        assert found[0].question == "Which vitamin is number 0?"
        assert [one.correct for one in found] == [0, 1, 2, 0, 1, 2, HIDDEN, HIDDEN, HIDDEN]

    def test_answers_that_look_like_nothing_are_texts_and_empty_ones_keep_their_place(self, access, copy):
        found = list(MedMCQA(replace(access, export=copy)).questions())

        assert found[1].options == ("None", "NA", "", "Vitamin D")
        assert (found[1].explanation, found[2].explanation) == ("It is known 1.", "")

    def test_json_lines_of_one_split(self, access, tmp_path):
        path = jsonl(tmp_path / "dev.jsonl", [mcq(1, "validation")])
        (found,) = MedMCQA(replace(access, export=path)).questions()
        assert (found.split, found.correct, found.explanation) == ("validation", 1, "It is known 1.")

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"cop": 4}, "cop"),
            ({"cop": "a"}, "cop"),
            ({"opa": 3}, "opa"),
            ({"id": None}, "id"),
            ({"question": ["x"]}, "question"),
        ],
    )
    def test_a_row_of_another_shape_is_named(self, access, tmp_path, change, field):
        path = jsonl(tmp_path / "train.jsonl", [mcq(0, "train"), mcq(1, "train") | change])
        with pytest.raises(SourceError, match=rf"MedMCQA: .*train\.jsonl:2: field '{field}'"):
            list(MedMCQA(replace(access, export=path)).questions())

    def test_a_missing_column_is_named(self, access, tmp_path):
        row = {name: value for name, value in mcq(0, "train").items() if name != "cop"}
        path = parquet(tmp_path / "train.parquet", [row])
        with pytest.raises(SourceError, match=r"train\.parquet:1: field 'cop' .*required"):
            list(MedMCQA(replace(access, export=path)).questions())

    @pytest.mark.parametrize("name", ["questions.jsonl", "train_test.jsonl"])
    def test_a_file_whose_name_tells_no_split_is_refused(self, access, tmp_path, name):
        path = jsonl(tmp_path / name, [mcq(0, "train")])
        with pytest.raises(SourceError, match="tells no split"):
            list(MedMCQA(replace(access, export=path)).questions())

    def test_csv_is_refused(self, access, tmp_path):
        (tmp_path / "train.csv").write_text("id,question")
        with pytest.raises(SourceError, match=r"train\.csv: is no export of this source; its files end in \.parquet"):
            list(MedMCQA(replace(access, export=tmp_path / "train.csv")).questions())

    @pytest.mark.parametrize("whole", [False, True])
    def test_a_damaged_file_is_named(self, access, copy, whole):
        path = copy / "data" / "train-00000-of-00001.parquet"
        path.write_bytes(b"no Parquet" if whole else path.read_bytes()[:-30])
        with pytest.raises(SourceError, match=r"train-00000-of-00001\.parquet: no Parquet file"):
            list(MedMCQA(replace(access, export=copy)).questions())

    def test_one_without_rows_is_an_error(self, access, tmp_path):
        with pytest.raises(SourceError, match="holds no question"):
            list(MedMCQA(replace(access, export=jsonl(tmp_path / "train.jsonl", []))).questions())


class TestMedQA:
    @pytest.mark.parametrize("write", [jsonl, parquet])
    def test_questions_have_numbers_in_their_split(self, access, tmp_path, write):
        suffix = write.__name__
        write(tmp_path / f"phrases_no_exclude_test.{suffix}", [usmle(9)])
        write(tmp_path / f"phrases_no_exclude_train.{suffix}", [usmle(1), usmle(2)])
        found = list(MedQA(replace(access, export=tmp_path)).questions())
        assert [(one.id, one.split, one.answer) for one in found] == [
            ("train-1", "train", "A"),
            ("train-2", "train", "D"),
            ("test-1", "test", "A"),
        ]
        assert found[0].options == {"A": "Wait", "B": "Operate", "C": "Scan", "D": "None"}

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"answer_idx": "E"}, "field 'answer_idx' is none of the letters"),
            ({"options": ["Wait"]}, "field 'options'"),
            ({"question": ""}, "field 'question'"),
        ],
    )
    def test_a_row_of_another_shape_is_named(self, access, tmp_path, change, said):
        path = jsonl(tmp_path / "train.jsonl", [usmle(1), usmle(2) | change])
        with pytest.raises(SourceError, match=rf"MedQA: .*train\.jsonl:2: {said}"):
            list(MedQA(replace(access, export=path)).questions())


class TestHub:
    def test_it_is_fetched_once_and_then_had_offline(self, access, server, hub, copy):
        hub(medmcqa.REPOSITORY, copy)
        assert len(list(MedMCQA(access).questions())) == 9
        assert access.snapshot()["replies"] == 1
        asked = len(server.asked)
        assert len(list(MedMCQA(replace(access, offline=True)).questions())) == 9
        assert len(server.asked) == asked

    def test_medqa(self, access, hub, tmp_path):
        (tmp_path / "medqa").mkdir()
        jsonl(tmp_path / "medqa" / "phrases_no_exclude_train.jsonl", [usmle(1)])
        (tmp_path / "medqa" / "README.md").write_text("not fetched")
        hub(medqa.REPOSITORY, tmp_path / "medqa")
        assert [one.id for one in MedQA(access).questions()] == ["train-1"]

    def test_a_data_set_that_is_not_there_says_what_else_to_do(self, access, server, hub):
        server.api = lambda path, query: Reply(404)
        with pytest.raises(
            SourceError, match=r"MedMCQA: openlifescienceai/medmcqa: is not to be had from the hub"
        ) as told:
            list(MedMCQA(access).questions())
        assert "HF_HOME" in str(told.value)
        assert "local export" in str(told.value)

    def test_offline_it_must_be_in_the_hubs_cache(self, access, server, hub):
        with pytest.raises(SourceError, match="from the hub offline"):
            list(MedQA(replace(access, offline=True)).questions())
        assert server.asked == []


class TestMedQuAD:
    def test_the_hubs_rows_with_an_answer(self, access, tmp_path):
        rows = [pair(1, "It is rare."), pair(2, None), pair(3, " "), pair(4, "It is treated.")]
        parquet(tmp_path / "data" / "train-00000-of-00001-fc.parquet", rows)
        found = fetch_medquad(replace(access, export=tmp_path))
        assert [(one.id, one.question, one.answer) for one in found.pairs] == [
            ("CancerGov:0000013_2-1", "What is it, 1?", "It is rare."),
            ("CancerGov:0000013_2-1#2", "What is it, 4?", "It is treated."),
        ]

    def test_the_xml_as_published(self, access, medquad):
        assert fetch_medquad(replace(access, export=medquad)) == read_medquad(medquad)

    def test_rows_without_answers_are_an_error(self, access, tmp_path):
        path = jsonl(tmp_path / "train.jsonl", [pair(1, None)])
        with pytest.raises(ReadError, match="holds no answered question"):
            fetch_medquad(replace(access, export=path))
