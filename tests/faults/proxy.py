"""A TCP proxy that misbehaves: it cuts, delays and truncates what flows through it."""

import random
import socket
import threading
import time
from contextlib import suppress

_BLOCK = 1 << 14


class Proxy:
    """Forwards connections to a server; a context manager.

    :param host: The server's.
    :param port: The server's.
    :param share: How often a piece of data is tampered with.
    :ivar url: Where it listens.
    :ivar done: How often it did what.
    """

    def __init__(self, host: str, port: int, share: float, seed: int = 0) -> None:
        self._server = (host, port)
        self._share = share
        self._chance = random.Random(seed)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.done = {"cut": 0, "delayed": 0, "truncated": 0}
        self.calm = False

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server)
            except OSError:
                client.close()
                continue
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(one, other), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(_BLOCK):
                tampering = None
                if not self.calm and self._chance.random() < self._share:
                    tampering = self._chance.choice(list(self.done))
                    self.done[tampering] += 1
                if tampering == "cut":
                    break
                if tampering == "delayed":
                    time.sleep(self._chance.uniform(0.1, 1.0))
                if tampering == "truncated":
                    target.sendall(data[: len(data) // 2])
                    break
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
