"""A server that speaks as OpenAI's chat API does, on loopback, and fails on demand."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Fault = tuple[int, dict[str, str]]
"""A status and headers in the place of a reply."""
HANG_UP, TOO_SLOW = "hang up", "too slow"
Answer = Callable[[list[dict[str, str]]], "str | Fault"]
"""The messages -> the reply's text, a fault, `HANG_UP` or `TOO_SLOW`."""


@dataclass
class ModelServer:
    """The server.

    :param answer: What it answers; may be set anew.
    :param asked: Messages of each request.
    :param usage: What it says of tokens; None says nothing.
    """

    url: str = ""
    answer: Answer = lambda messages: "{}"
    asked: list[list[dict[str, str]]] = field(default_factory=list)
    usage: dict[str, int] | None = field(default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 20})
    done: threading.Event = field(default_factory=threading.Event)

    def generator(self, folder: Path, **parameters: Any) -> Path:
        """Write the YAML of a generator that asks it."""
        path = folder / "generator.yaml"
        given = {
            "api_key": {"type": "env_var", "env_vars": ["PATH"], "strict": True},
            "model": "tiny",
            "api_base_url": f"{self.url}/v1",
            "timeout": 5,
            **parameters,
        }
        component = "haystack.components.generators.chat.openai.OpenAIChatGenerator"
        path.write_text(json.dumps({"type": component, "init_parameters": given}))  # JSON is YAML
        return path


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """Run one."""
    made = ModelServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
            made.asked.append(messages)
            found = made.answer(messages)
            if found == TOO_SLOW:
                made.done.wait(30)
            if found in (HANG_UP, TOO_SLOW):
                self.close_connection = True
                return
            status, headers = (200, {}) if isinstance(found, str) else found
            body: dict[str, Any] = {"error": {"message": "no"}}
            if isinstance(found, str):
                message = {"role": "assistant", "content": found}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                body = {"id": "1", "object": "chat.completion", "created": 1, "model": "tiny", "choices": [choice]}
                body |= {} if made.usage is None else {"usage": {**made.usage, "total_tokens": 0}}
            data = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {
                **headers,
                "Content-Type": "application/json",
                "Content-Length": str(len(data)),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.done.set()
        server.shutdown()
        server.server_close()
        thread.join()
