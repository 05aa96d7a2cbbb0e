import pytest

from es_ingest.cluster import ClusterError, OptionError, choose_server, open_cluster
from es_ingest.cluster import choose as choose_module
from es_ingest.cluster import docker as docker_module


@pytest.fixture
def world(monkeypatch):
    """What answers on this machine, as `choose_server` would find it."""
    facts = {"docker": "", "kept": False}
    monkeypatch.setattr(docker_module, "docker_fault", lambda: facts["docker"])
    monkeypatch.setattr(choose_module, "_keeps_server", lambda data: facts["kept"])
    return facts


def test_auto_takes_the_url_then_a_kept_server_then_docker_then_local(world):
    env = {"ES_URL": "http://u:s3cr3t@h:1"}
    world["kept"] = True
    first = choose_server("auto", env)
    assert (first.kind, first.reason) == ("url", "ES_URL is set")
    assert "s3cr3t" not in repr(first)
    second = choose_server("auto", {})
    assert (second.kind, second.reason) == ("local", "no ES_URL; a local server is running")
    assert choose_server("auto", {}, ephemeral=True).kind == "docker"
    world["kept"] = False
    third = choose_server("auto", {})
    assert (third.kind, third.reason) == ("docker", "no ES_URL, and the Docker engine answers")
    world["docker"] = "no socket"
    fourth = choose_server("auto", {})
    assert (fourth.kind, fourth.reason) == ("local", "no ES_URL and no Docker engine answers")


def test_a_word_or_a_url_is_taken_as_said(world):
    env = {"ES_URL": "http://elsewhere:1"}
    assert choose_server("docker", env).kind == "docker"
    assert choose_server("LOCAL", env).kind == "local"
    assert choose_server(" https://h:1 ", env).url == "https://h:1"
    with pytest.raises(OptionError, match="--es is empty"):
        choose_server("", env)


def test_a_typing_error_names_the_words():
    with pytest.raises(OptionError, match="'dokcer' is neither auto, docker, local nor"), open_cluster("dokcer"):
        pass


def test_windows_has_no_local_server(world, monkeypatch):
    monkeypatch.setattr(choose_module.sys, "platform", "win32")
    with pytest.raises(ClusterError, match="does not run on Windows: use --es docker"):
        choose_server("local", {})
    world["docker"] = "no pipe"
    with pytest.raises(ClusterError, match=r"Docker does not answer \(no pipe\); a local server does not"):
        choose_server("auto", {})
