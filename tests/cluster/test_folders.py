import os

import pytest

from es_ingest.cluster import FolderError
from es_ingest.cluster import folders as folders_module
from es_ingest.cluster.folders import ServerUser, cache_folder, closed_to, data_folder, make_folder

STRANGER = ServerUser("stranger", 4_000_001, 4_000_001)


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    for name in ("ES_INGEST_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_one_variable_moves_everything(monkeypatch, tmp_path):
    monkeypatch.setenv("ES_INGEST_HOME", str(tmp_path / "home"))
    assert cache_folder(None) == tmp_path / "home" / "cache"
    assert data_folder(None, None) == tmp_path / "home" / "elasticsearch"
    assert data_folder(tmp_path / "mine", None) == tmp_path / "mine"


def test_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    assert cache_folder(None) == tmp_path / "c" / "medte"
    assert data_folder(None, None) == tmp_path / "d" / "medte" / "elasticsearch"


def test_a_home_closed_to_the_server_gives_way_to_the_system_folders(monkeypatch, tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(folders_module, "SYSTEM_DATA", tmp_path / "system")
    assert data_folder(None, STRANGER) == tmp_path / "system" / "elasticsearch"
    assert data_folder(None, None) == home / ".local" / "share" / "medte" / "elasticsearch"
    assert closed_to(None, home) is None


def test_a_chosen_folder_closed_to_the_server_is_an_error(open_folder):
    (open_folder / "closed").mkdir(mode=0o700)
    with pytest.raises(FolderError, match=r"user stranger, which may not enter .*closed; chmod o\+x") as caught:
        make_folder(open_folder / "closed" / "x", STRANGER, fix="set ES_INGEST_HOME")
    assert caught.value.path == open_folder / "closed"


def test_new_folders_are_open_to_the_server_whatever_the_umask(open_folder):
    before = os.umask(0o077)
    try:
        path = make_folder(open_folder / "a" / "b", STRANGER, fix="")
    finally:
        os.umask(before)
    assert closed_to(STRANGER, path) is None


def test_a_folder_that_cannot_be_made_names_the_fix(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match=r"cannot make the folder .*; set ES_INGEST_HOME"):
        make_folder(tmp_path / "file" / "x", None, fix="set ES_INGEST_HOME")
