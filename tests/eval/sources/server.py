"""An HTTP server that answers as a test says, misbehaves when told to, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Query = dict[str, str]
Api = Callable[[str, Query], Any]


@dataclass(frozen=True)
class Reply:
    """What is answered once in place of the API's answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Broken:
    """The API's answer, of which only half comes; or, with nothing of it, a connection that ends at once."""

    share: float = 0.5


class Server:
    """A context manager.

    :ivar api: Gives the body of an answer: an object for JSON, bytes, or a `Reply`.
    :ivar faults: What comes before the API answers again, each once: a `Reply` or `Broken`.
    :ivar asked: Paths and queries of the requests, in their order.
    :ivar headers: Their headers.
    :ivar held: Requests wait while this is not set.
    """

    def __init__(self, api: Api | None = None) -> None:
        self.api: Api = api or (lambda path, query: {})
        self.faults: list[Reply | Broken] = []
        self.asked: list[tuple[str, Query]] = []
        self.headers: list[dict[str, str]] = []
        self.held = threading.Event()
        self.held.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._answer(self)

            do_HEAD = do_GET

            def log_message(self, *said: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> "Server":
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.held.set()
        self._http.shutdown()
        self._http.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        path, query = unquote(parts.path), dict(parse_qsl(parts.query, keep_blank_values=True))
        self.asked.append((path, query))
        self.headers.append(dict(handler.headers))
        self.held.wait()
        fault = self.faults.pop(0) if self.faults else None
        reply = fault if isinstance(fault, Reply) else self._made(path, query)
        share = fault.share if isinstance(fault, Broken) else 1.0
        try:
            if share:
                handler.send_response(reply.status)
                for name, value in reply.headers.items():
                    handler.send_header(name, value)
                handler.send_header("Content-Length", str(len(reply.body)))
                handler.end_headers()
                if handler.command == "GET":
                    handler.wfile.write(reply.body[: int(len(reply.body) * share)])
            handler.close_connection = share < 1.0
        except OSError:
            pass  # the client has gone

    def _made(self, path: str, query: Query) -> Reply:
        made = self.api(path, query)
        if isinstance(made, Reply):
            return made
        return Reply(body=made if isinstance(made, bytes) else json.dumps(made).encode())
