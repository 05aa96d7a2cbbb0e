"""A server with TLS and users: what is said of credentials that it refuses, and that no secret is told."""

import base64
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from es_ingest.cluster import Connection, NoServerError, guard
from es_ingest.cluster.config import give_to, prepare, server_environment, settings_for, write_config
from es_ingest.cluster.connection import check
from es_ingest.cluster.distribution import choose_release, install
from es_ingest.cluster.folders import cache_folder, server_user
from es_ingest.cluster.server import READY_SECONDS, end
from es_ingest.cluster.state import Layout

COMMAND = Path(sys.executable).with_name("es-ingest")
SETTINGS = {
    "xpack.security.enabled": True,
    "xpack.security.http.ssl.enabled": True,
    "xpack.security.http.ssl.certificate": "http.pem",
    "xpack.security.http.ssl.key": "http.key",
}
ROLES = """\
loader: {cluster: [monitor], indices: [{names: [test-*], privileges: [manage, read, write]}]}
appender: {indices: [{names: [test-*], privileges: [read, view_index_metadata, maintenance, create_doc]}]}
"""
PASSWORDS = {"loader": "s3cret-loads", "appender": "s3cret-appends", "nobody": "s3cret-nothing"}
KEY = base64.b64encode(b"id:s3cret-key").decode()
DIM = 384


@pytest.fixture(scope="module")
def certificates(folder):
    """A CA, and a server's certificate that it signed."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")

    def make(name, *options):
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key")
        extensions = [word for option in options for word in ("-addext", option)]
        command = ["openssl", "req", "-x509", "-days", "2", *key, "-out", f"{name}.pem", "-subj", f"/CN={name}"]
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key"] if name != "ca" else []
        subprocess.run([*command, *signed, *extensions], cwd=folder, check=True, capture_output=True)

    make("ca", "keyUsage=critical,keyCertSign")
    make("http", "basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1")
    return folder


@pytest.fixture(scope="module")
def connection(certificates):
    """A server with security on, in the place of the one that all tests share."""
    layout, user = Layout(certificates / "server"), server_user()
    cache = cache_folder(user)
    release, jdk = choose_release(None, cache, user)
    home = install(release, cache)
    prepare(layout, release.version, user)
    write_config(layout, home, "512m", {**settings_for(layout, "0"), **SETTINGS}, user)
    for name in ("http.pem", "http.key"):
        shutil.copy(certificates / name, layout.config)
    (layout.config / "roles.yml").write_text(ROLES)
    environment, account, numbers = server_environment(layout, jdk.home), {}, {}
    if user:
        give_to(user, layout.config)
        account = {"user": user.uid, "group": user.gid, "extra_groups": []}
        numbers = {"uid": user.uid, "gid": user.gid}
    for name, password in PASSWORDS.items():
        role = ["-r", name] if f"{name}:" in ROLES else []
        add = [home / "bin" / "elasticsearch-users", "useradd", name, "-p", password, *role]
        subprocess.run(add, env=environment, cwd="/", check=True, capture_output=True, **account)
    command = [str(home / "bin" / "elasticsearch")]
    spec = {"command": command, "environment": environment, "console": str(layout.console), **numbers}
    process = guard.spawn(spec, die_with_parent=True)
    try:
        yield _ready(layout, process, str(certificates / "ca.pem"))
    finally:
        end(process.pid, process)


def _ready(layout, process, ca_certs):
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError, IndexError, NoServerError):
            url = f"https://{layout.ports.read_text().split()[0]}"
            return check(Connection(url, "url", basic_auth=("loader", PASSWORDS["loader"]), ca_certs=ca_certs))
        time.sleep(0.2)
    pytest.fail(f"the server is not ready: {layout.console.read_text()}")


@pytest.fixture
def es_ingest(connection, tmp_path):
    """Runs the command; looks for secrets in all that it prints, in its files and, meanwhile, in its command lines."""
    _write_notes(tmp_path, "a", "b")
    own = {"NO_COLOR": "1", "ES_INGEST_STATE": str(tmp_path / "state"), "ES_CA_CERTS": connection.ca_certs}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ES_")}

    def call(*arguments, user=None, url=connection.url, shown=False, **env):
        if user:
            env = {"ES_USERNAME": user, "ES_PASSWORD": PASSWORDS[user], **env}
        process = subprocess.Popen(
            [COMMAND, *arguments, "--es", url],
            cwd=tmp_path,
            env={**kept, **own, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        lines = set()
        out, err = _watched(process, lines)
        assert lines
        files = [path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
        secrets = ["s3cret", KEY, *(_basic(*pair) for pair in PASSWORDS.items())]
        for text in (out, err, *files, *(() if shown else lines)):
            assert not [secret for secret in secrets if secret in text]
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    return call


def _watched(process, lines, patience=120):
    """Add the command lines of a process and of its children while it runs; return what it printed."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with suppress(psutil.Error):
            found = psutil.Process(process.pid)
            lines |= {" ".join(one.cmdline()) for one in (found, *found.children(recursive=True))}
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=0.1)
    process.kill()
    pytest.fail(f"not done after {patience} s: {process.communicate()[1]}")


def _basic(user, password):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _write_notes(folder, *ids):
    rows = [{"id": name, "text": f"Note {name}.", "vector": [1.0, *[0.0] * (DIM - 1)]} for name in ids]
    (folder / "notes.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows) + "broken\n")


def _run(index):
    return ("run", "notes.jsonl", "--vector-field", "vector", "--model", "minilm", "--index", index, "--json")


def _search(index):
    return ("search", index, "what thins blood", "--json")


def test_a_password_and_a_private_ca(es_ingest, index, tmp_path):
    done = es_ingest(*_run(index), user="loader")
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["records"], summary["failed"]) == (2, 1)
    assert Path(summary["dead_letters"]).parent == tmp_path / "state"
    found = es_ingest(*_search(index), user="appender")
    assert {hit["document_id"] for hit in json.loads(found.stdout)["hits"]} == {"a", "b"}, found.stderr


def test_workers_on_a_ray_cluster_get_in_as_well(es_ingest, index, tmp_path):
    pytest.importorskip("ray")
    ray = ("--engine", "ray", "--ray-address", "local")
    done = es_ingest(*_run(index), *ray, user="loader")
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["records"] == 2
    _write_notes(tmp_path, "a", "b", "c")
    done = es_ingest(*_run(index), *ray, user="appender")  # what a worker may not is told by the command
    assert done.returncode == 5, done.stderr
    assert "is not allowed: action [indices:data/write/" in json.loads(done.stdout)["error"]
    assert "is not allowed: action [indices:data/write/" in done.stderr


@pytest.mark.parametrize("command", [_run, _search])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"user": "loader", "ES_CA_CERTS": ""}, ["is not trusted", "set ES_CA_CERTS to the file of the CA"]),
        ({"user": "loader", "ES_PASSWORD": "s3cret-wrong"}, ["refuses the user name or the password", "ES_PASSWORD"]),
        ({"ES_API_KEY": KEY}, ["refuses the API key", "set ES_API_KEY"]),
        ({}, ["wants credentials", "set ES_API_KEY, or ES_USERNAME and ES_PASSWORD"]),
        ({"user": "nobody"}, ["not allow", "user [nobody]", "index privileges [", "ES_API_KEY, or ES_USERNAME"]),
    ],
    ids=["no CA", "wrong password", "refused key", "no credentials", "no privileges"],
)
def test_what_does_not_let_us_in_is_named(es_ingest, index, command, given, said):
    done = es_ingest(*command(index), **given)
    assert (done.returncode, done.stdout) == (5, ""), done.stderr
    *_, error = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert not [words for words in said if words not in error], error


def test_records_that_may_not_be_written_are_no_dead_letters(es_ingest, index, tmp_path):
    assert es_ingest(*_run(index), user="loader").returncode == 3
    (letters,) = (tmp_path / "state").glob("*.dead.jsonl")
    _write_notes(tmp_path, "a", "b", "c")
    done = es_ingest(*_run(index), user="appender")  # may add documents, and not replace any
    assert done.returncode == 5, done.stderr
    assert json.loads(done.stdout)["refused"] == 0
    assert "is not allowed: action [indices:data/write/" in done.stderr
    (malformed,) = (line for file in letters.parent.glob("*.dead.jsonl") if file != letters for line in file.open())
    assert json.loads(malformed)["position"] == "notes.jsonl:4"
    again = json.loads(es_ingest(*_run(index), user="loader").stdout)
    assert (again["unchanged"], again["records"], again["refused"]) == (2, 1, 0)


@pytest.mark.parametrize("user", ["loader", "nobody"])
def test_a_password_in_the_url_is_warned_about_and_not_repeated(es_ingest, index, connection, user):
    url = connection.url.replace("://", f"://{user}:{PASSWORDS[user]}@")
    done = es_ingest(*_search(index), url=url, shown=True)
    assert done.returncode == {"loader": 6, "nobody": 5}[user], done.stderr
    assert "can see the password in the URL in the list of processes" in done.stderr


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_refused_key_is_sent_once(es_ingest, index, certificates, from_the_start):
    seen = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers["authorization"]))
            welcome = self.path == "/" and not from_the_start
            error = {"type": "security_exception", "reason": "unable to find the API key"}
            body = json.dumps({"version": {"number": "9.5.3"}} if welcome else {"error": error, "status": 401}).encode()
            self.send_response(200 if welcome else 401)
            for header in (("content-type", "application/json"), ("x-elastic-product", "Elasticsearch")):
                self.send_header(*header)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "http.pem", certificates / "http.key")
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        done = es_ingest(*_search(index), url=f"https://127.0.0.1:{server.server_port}", ES_API_KEY=KEY)
        server.shutdown()
        thread.join()
    assert {sent for _, sent in seen} == {f"ApiKey {KEY}"}
    assert len(seen) == (1 if from_the_start else 2)
    assert done.returncode == 5
    said = "refuses the API key" if from_the_start else "does not allow this: unable to find the API key"
    assert said in done.stderr
