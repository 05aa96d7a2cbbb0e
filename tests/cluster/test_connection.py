import logging
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import certifi
import pytest

from es_ingest.cluster import AuthenticationError, Connection, NoServerError, OptionError, open_cluster, parse_url
from es_ingest.cluster.connection import connection_from_url, is_loopback

SECRET = "s3cr3t/@"


@pytest.mark.parametrize(
    ("text", "url", "auth"),
    [
        ("http://localhost:9201", "http://localhost:9201", None),
        ("http://localhost", "http://localhost:9200", None),
        ("https://search.example.org/", "https://search.example.org:443", None),
        ("https://h:9243/es/", "https://h:9243/es", None),
        ("http://[::1]:9200", "http://[::1]:9200", None),
        ("https://me:s3cr3t%2F%40@h:9200", "https://h:9200", ("me", SECRET)),
    ],
)
def test_parse_url(text, url, auth):
    assert parse_url(text) == (url, auth)


@pytest.mark.parametrize(
    "text",
    [
        "me:s3cr3t@localhost:9200",
        "http://me:s3cr3t@h:port",
        "ftp://me:s3cr3t@h",
        "http://me:12/s3cr3t@h",
        "http://",
        "x",
    ],
)
def test_a_bad_url_is_refused_without_its_password(text):
    with pytest.raises(OptionError) as caught:
        parse_url(text)
    assert "s3cr3t" not in str(caught.value) + repr(caught.value.value) + repr(caught.value.__cause__)


def test_credentials_in_order_of_nearness():
    env = {"ES_API_KEY": "envkey", "ES_USERNAME": "envuser", "ES_PASSWORD": "envpass"}
    given = connection_from_url("https://u:p@h", env, api_key="argkey")
    assert (given.api_key, given.basic_auth) == ("argkey", None)
    pair = connection_from_url("https://u:p@h", env, username="a", password="b")
    assert (pair.api_key, pair.basic_auth) == (None, ("a", "b"))
    in_url = connection_from_url("https://u:p@h", env)
    assert (in_url.api_key, in_url.basic_auth) == (None, ("u", "p"))
    key = connection_from_url("https://h", env)
    assert (key.api_key, key.basic_auth) == ("envkey", None)
    del env["ES_API_KEY"]
    assert connection_from_url("https://h", env).basic_auth == ("envuser", "envpass")
    assert connection_from_url("https://h", {}).client_options() == {"hosts": ["https://h:443"]}


def test_half_a_pair_and_a_file_without_certificates_are_errors(tmp_path):
    with pytest.raises(OptionError, match="ES_USERNAME and ES_PASSWORD"):
        connection_from_url("https://h", {"ES_USERNAME": "u"})
    (tmp_path / "empty.pem").touch()
    for path in (tmp_path / "no.pem", tmp_path / "empty.pem", tmp_path):
        with pytest.raises(OptionError, match=f"no certificates can be read from {path} .* correct ES_CA_CERTS"):
            connection_from_url("https://h", {"ES_CA_CERTS": str(path)})
    with pytest.raises(OptionError, match="write https"):
        connection_from_url("http://h", {"ES_CA_CERTS": certifi.where()})
    assert connection_from_url("https://h", {"ES_CA_CERTS": certifi.where()}).ca_certs


@pytest.mark.parametrize("key", [f"{SECRET}\nx", f"{SECRET} x", f"{SECRET}ö"])
def test_a_key_that_no_header_takes_is_refused_without_being_shown(key):
    with pytest.raises(OptionError, match="set ES_API_KEY to the encoded key") as caught:
        connection_from_url("https://h", {"ES_API_KEY": key})
    assert SECRET not in str(caught.value) + caught.value.value
    assert connection_from_url("https://h", {"ES_API_KEY": f"{SECRET}\n"}).api_key == SECRET  # as `cat` gives it
    assert connection_from_url("https://h", {"ES_API_KEY": "\n"}).client_options() == {"hosts": ["https://h:443"]}


def test_repr_hides_secrets():
    connection = Connection("http://h:1", "url", "why", None, api_key="k3y", basic_auth=("u", "p4ss"))
    assert "k3y" not in repr(connection)
    assert "p4ss" not in repr(connection)


def test_credentials_that_others_can_see_are_warned_about_without_being_shown(caplog, monkeypatch):
    connection_from_url("http://u:s3cr3t@search.example.org", {})
    assert "unencrypted to http://search.example.org:9200" in caplog.text
    assert "s3cr3t" not in caplog.text
    caplog.clear()
    connection_from_url("http://u:s3cr3t@127.0.0.1", {})
    assert not caplog.text
    monkeypatch.setattr("sys.argv", ["es-ingest", "search", "--es=https://u:s3cr3t@127.0.0.1"])
    connection_from_url("https://u:s3cr3t@127.0.0.1", {})
    assert "the password in the URL in the list of processes (ps)" in caplog.text
    assert "s3cr3t" not in caplog.text
    assert [is_loopback(f"http://{host}:1") for host in ("localhost", "[::1]", "10.0.0.1")] == [True, True, False]


@pytest.fixture
def answering():
    """A server that answers everything in one way; yields its URL and what it was sent."""

    class Handler(BaseHTTPRequestHandler):
        status, body, product, seen = 200, b"{}", "Elasticsearch", []

        def do_GET(self):
            type(self).seen.append(self.headers.get("authorization"))
            self.send_response(self.status)
            self.send_header("content-type", "application/json")
            if self.product:
                self.send_header("x-elastic-product", self.product)
            self.end_headers()
            self.wfile.write(self.body)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}", Handler
        server.shutdown()
        thread.join()


def test_url_with_credentials_reaches_the_server_and_no_log(answering, caplog):
    address, handler = answering
    handler.body = b'{"version":{"number":"9.9.9"}}'
    caplog.set_level(logging.INFO)
    with open_cluster(f"http://me:s3cr3t@{address}") as connection:
        assert (connection.version, connection.kind, connection.url) == ("9.9.9", "url", f"http://{address}")
    assert handler.seen[-1].startswith("Basic ")
    assert f"using Elasticsearch 9.9.9 at http://{address} (the URL given)" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_refused_credentials(answering):
    address, handler = answering
    handler.status, handler.body = 401, b'{"error":"security_exception","status":401}'
    with pytest.raises(AuthenticationError, match="ES_PASSWORD") as caught, open_cluster(f"http://u:s3cr3t@{address}"):
        pass
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(AuthenticationError, match="the API key"), open_cluster(f"http://{address}", api_key="abc"):
        pass
    with pytest.raises(AuthenticationError, match="wants credentials"), open_cluster(f"http://{address}"):
        pass


def test_credentials_that_may_not_read_the_version_are_enough(answering):
    address, handler = answering
    handler.status, handler.body = 403, b'{"error":"security_exception","status":403}'
    with open_cluster(f"http://{address}", api_key="abc") as connection:
        assert connection.version is None
    assert handler.seen[-1] == "ApiKey abc"


@pytest.mark.parametrize("body", [b"{}", b"<html>", b'{"version":{"number":"1"}}'])
def test_something_else_answers(answering, body):
    address, handler = answering
    handler.body, handler.product = body, None
    with pytest.raises(NoServerError, match=r"not .*Elasticsearch"), open_cluster(f"http://{address}"):
        pass


def test_the_other_one_of_http_and_https(answering):
    address, _ = answering
    with pytest.raises(NoServerError, match=f"no TLS with https://{address}: .* write http://"):
        open_cluster(f"https://{address}").__enter__()


def test_a_server_that_ends_the_connection_may_want_tls():
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        port = server.server_address[1]
        with pytest.raises(NoServerError, match=f"http://127.0.0.1:{port} ends the connection .* write https://"):
            open_cluster(f"http://127.0.0.1:{port}").__enter__()
        server.shutdown()
        thread.join()


def test_nothing_answers(free_port):
    with pytest.raises(NoServerError, match=f"nothing answers at http://127.0.0.1:{free_port}"):
        open_cluster(f"http://127.0.0.1:{free_port}").__enter__()
