import hashlib
import logging
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from es_ingest.cluster import DownloadError, OptionError
from es_ingest.cluster.distribution import RELEASES, Release, choose_release, fetch, install, resolve_with_jgo


@pytest.fixture
def archive(tmp_path):
    """A small archive in the shape of the real one, and its release."""
    path = tmp_path / "good.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, mode in [("bin/elasticsearch", 0o755), ("config/elasticsearch.yml", 0o660), ("LICENSE.txt", 0o644)]:
            info = zipfile.ZipInfo(f"elasticsearch-0.0.1/{name}")
            info.external_attr = mode << 16
            file.writestr(info, name)
    return path, Release("0.0.1", hashlib.sha256(path.read_bytes()).hexdigest(), 17, 1)


class FakeResolver:
    """Stands for the network: brings the given contents, one after the other."""

    def __init__(self, *contents):
        self.contents = list(contents)
        self.calls = 0

    def __call__(self, release, repository):
        path = repository / release.path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.contents[self.calls])
            self.calls += 1
        return path


@pytest.fixture(autouse=True)
def _no_shared_repository(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_install_unpacks_once_with_modes_and_notice(archive, tmp_path, caplog):
    path, release = archive
    resolver = FakeResolver(path.read_bytes())
    caplog.set_level(logging.WARNING)
    cache = tmp_path / "cache"
    cache.mkdir()
    home = install(release, cache, resolver)
    assert install(release, cache, resolver) == home
    assert (home / "bin" / "elasticsearch").stat().st_mode & 0o777 == 0o755
    assert (home / "config" / "elasticsearch.yml").stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in home.parent.iterdir()] == [home.name]
    assert caplog.text.count("Elastic License 2.0") == 1


def test_two_that_install_at_once_fetch_once(archive, tmp_path):
    path, release = archive
    resolver = FakeResolver(path.read_bytes(), path.read_bytes())

    def slow(release, repository):
        time.sleep(0.3)
        return resolver(release, repository)

    with ThreadPoolExecutor() as pool:
        homes = {future.result() for future in [pool.submit(install, release, tmp_path, slow) for _ in range(3)]}
    assert len(homes) == 1
    assert resolver.calls == 1


def test_a_damaged_download_is_fetched_once_more(archive, tmp_path, caplog):
    path, release = archive
    resolver = FakeResolver(b"half", path.read_bytes())
    assert fetch(release, tmp_path, resolver).read_bytes() == path.read_bytes()
    assert resolver.calls == 2
    assert "is damaged" in caplog.text


def test_damaged_twice_names_both_hashes_and_leaves_nothing(archive, tmp_path):
    _, release = archive
    resolver = FakeResolver(b"half", b"other half")
    with pytest.raises(DownloadError, match="came damaged twice") as caught:
        fetch(release, tmp_path, resolver)
    actual = hashlib.sha256(b"other half").hexdigest()
    assert release.sha256 in str(caught.value)
    assert actual in str(caught.value)
    assert (caught.value.expected, caught.value.actual) == (release.sha256, actual)
    assert not caught.value.path.exists()


def test_a_good_copy_in_the_shared_repository_is_used_and_a_bad_one_is_not(archive, tmp_path):
    path, release = archive
    shared = tmp_path / "home" / ".m2" / "repository" / release.path
    shared.parent.mkdir(parents=True)
    shared.write_bytes(path.read_bytes())
    resolver = FakeResolver(path.read_bytes())
    assert fetch(release, tmp_path, resolver) == shared
    assert resolver.calls == 0
    shared.write_bytes(b"bad")
    assert fetch(release, tmp_path, resolver) != shared
    assert shared.read_bytes() == b"bad"


def test_no_network_says_where_to_put_the_file(tmp_path, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="put the file at") as caught:
        resolve_with_jgo(RELEASES[0], tmp_path)
    assert str(tmp_path / RELEASES[0].path) in str(caught.value)


def test_unknown_version_names_the_known_ones(tmp_path):
    with pytest.raises(OptionError, match=r"7\.0\.0 .* choose one of 9\.5\.3, 8\.19\.21"):
        choose_release("7.0.0", tmp_path, None)
