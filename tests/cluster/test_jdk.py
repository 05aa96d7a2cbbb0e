from pathlib import Path

import pytest

from es_ingest.cluster import JdkNotFoundError
from es_ingest.cluster.distribution import choose_release
from es_ingest.cluster.folders import ServerUser
from es_ingest.cluster.jdk import MODULES, fetch_jdk, find_jdks, read_release

WHOLE = " ".join(["java.base", *sorted(MODULES)])


def make_jdk(home: Path, version: str, modules: str = WHOLE) -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").touch(mode=0o755)
    (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    return home


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No Java on PATH or in the environment, and no network."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("ES_JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("25", 25), ("1.8.0_392", 8), ("21-ea", 21)])
def test_release_file(tmp_path, version, major):
    jdk = read_release(make_jdk(tmp_path / "j", version), "here")
    assert (jdk.major, jdk.version, jdk.source, jdk.modules >= MODULES) == (major, version, "here", True)


def test_what_is_no_java(tmp_path):
    assert read_release(tmp_path, "x") is None
    home = make_jdk(tmp_path / "a", "nonsense")
    assert read_release(home, "x") is None
    home = make_jdk(tmp_path / "b", "21")
    (home / "bin" / "java").unlink()
    assert read_release(home, "x") is None


def test_environment_first_then_newest(tmp_path, monkeypatch, caplog):
    roots = tmp_path / "jvm"
    eleven, seventeen, mac = (
        make_jdk(roots / name, v) for name, v in [("a", "11"), ("b", "17.0.1"), ("c/Contents/Home", "25")]
    )
    named = make_jdk(tmp_path / "named", "21.0.1")
    monkeypatch.setenv("JAVA_HOME", str(named))
    monkeypatch.setenv("ES_JAVA_HOME", str(tmp_path / "gone"))
    assert [jdk.home for jdk in find_jdks(roots=[roots])] == [named, mac, seventeen, eleven]
    assert "ES_JAVA_HOME=" in caplog.text
    monkeypatch.setenv("PATH", str(seventeen / "bin"))
    assert [jdk.source for jdk in find_jdks(roots=[roots])] == ["JAVA_HOME", "PATH", str(roots), str(roots)]


def test_a_jdk_the_server_may_not_reach_is_passed_over(tmp_path):
    home = make_jdk(tmp_path / "jvm" / "x", "25")
    (tmp_path / "jvm").chmod(0o700)
    assert find_jdks(ServerUser("stranger", 4_000_001, 4_000_001), [tmp_path / "jvm"]) == []
    assert [jdk.home for jdk in find_jdks(None, [tmp_path / "jvm"])] == [home]


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [(["17", "21"], "9.5.3"), (["17", "25"], "9.5.3"), (["17"], "8.19.21"), (["11", "20"], "8.19.21")],
)
def test_release_follows_the_jdk(tmp_path, monkeypatch, versions, chosen):
    for version in versions:
        make_jdk(tmp_path / "jvm" / version, version)
    monkeypatch.setattr("es_ingest.cluster.distribution.find_jdks", lambda user: find_jdks(user, [tmp_path / "jvm"]))
    assert choose_release(None, tmp_path, None)[0].version == chosen


def test_no_jdk_and_no_network_names_what_was_seen_and_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    old = read_release(make_jdk(tmp_path / "old", "11"), "x")
    jre = read_release(make_jdk(tmp_path / "jre", "21", "java.base"), "x")
    with pytest.raises(JdkNotFoundError) as caught:
        fetch_jdk(tmp_path, [old, jre], 17)
    message = str(caught.value)
    assert "Java 11 is older than 17" in message
    assert "Java 21 lacks jdk.incubator.vector, jdk.jlink: it is not a whole JDK" in message
    assert "none could be fetched" in message
    assert "ES_JAVA_HOME" in message
    assert caught.value.minimum == 17
    assert len(caught.value.found) == 2


def test_a_network_that_swallows_packets_is_given_up_on(tmp_path, monkeypatch):
    monkeypatch.setattr("es_ingest.cluster.jdk.INDEX_SECONDS", 0.1)
    with pytest.raises(JdkNotFoundError, match="the network did not answer within"):
        fetch_jdk(tmp_path, [], 17)
