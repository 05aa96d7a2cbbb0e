"""Files that are whole, with several processes that write them."""

import os
import subprocess
import sys
from pathlib import Path

from medte_eval.files import write_whole


def test_what_a_dead_process_left_is_removed_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    left = tmp_path / f".a.json.{dead.pid}.0a1b2c3d.part"
    being_written = tmp_path / f".a.json.{os.getpid()}.0a1b2c3d.part"
    of_others = tmp_path / ".a.json.not.ours.part"
    for one in (left, being_written, of_others):
        one.touch()

    write_whole(tmp_path / "a.json", ["1"])

    assert {path.name for path in tmp_path.iterdir()} == {"a.json", being_written.name, of_others.name}


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    def parts() -> "list[str]":
        write_whole(tmp_path / "a.json", ["other"])  # while the file that asks for these parts is half written
        return ["1"]

    write_whole(tmp_path / "a.json", (part for part in parts()))

    assert (tmp_path / "a.json").read_text() == "1"
    assert len(list(tmp_path.iterdir())) == 1
