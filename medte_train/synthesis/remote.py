"""Where texts would go: which generators are of this machine, and a guard that lets nothing leave it.

A generator counts as local if it computes in this process, or if every address that it names resolves to loopback. The
guard then holds it to that: as long as it is on, a connection of this process to any other address fails, whatever
resolved it or sent it there, a proxy or a redirect, say.
"""

import ipaddress
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

_IN_PROCESS = ("HuggingFaceLocalChatGenerator", "LlamaCppChatGenerator", "MockChatGenerator")
_URL = re.compile(r"\w[\w+.-]*://", re.ASCII)
_NETWORKS = (socket.AF_INET, socket.AF_INET6)


class RemoteRefusedError(Exception):
    """A connection to another machine, which is not allowed.

    :param address: Where to.
    """

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


def remote_places(generator: Any) -> list[str]:
    """Name where a chat generator would send texts outside this machine.

    :param generator: A component of Haystack.
    :returns: Its addresses that are not loopback, or its class where it names none; nothing for a local one.
    """
    name = type(generator).__name__
    if name in _IN_PROCESS:
        return []
    client = getattr(generator, "client", None)
    if (base := getattr(client, "base_url", None)) is not None:
        places = {str(base)}
    else:
        told = generator.to_dict() if hasattr(generator, "to_dict") else {}
        places = set(_urls_in(told.get("init_parameters")))
    return sorted(one for one in places if not is_loopback(urlsplit(one).hostname)) if places else [name]


def is_loopback(host: str | None) -> bool:
    """Tell whether a host's name or address means this machine, and nothing else; it is resolved to find out."""
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(_stays_here(str(address[0])) for *_, address in found)


class Guard:
    """Lets no connection of this process leave the machine while it is on.

    :param refused: Addresses that were refused.
    """

    def __init__(self) -> None:
        self.refused: list[str] = []

    @contextmanager
    def on(self) -> Iterator[None]:
        """Turn it on for the time of a ``with`` block, in all threads."""
        _watch()
        _guards.append(self)
        try:
            yield
        finally:
            _guards.remove(self)


_guards: list[Guard] = []
_watched: list[bool] = []


def _watch() -> None:
    """Have connections told from now on: a hook cannot be taken off again, and does nothing while no guard is on."""
    if not _watched:
        _watched.append(True)
        sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _guards or event not in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return
    its, address = arguments[:2]
    if its.family not in _NETWORKS or not isinstance(address, tuple):  # a socket file, or connected before
        return
    if not _stays_here(str(address[0])) and not is_loopback(str(address[0])):
        place = f"{address[0]}:{address[1]}"
        for guard in _guards:
            guard.refused.append(place)
        raise RemoteRefusedError(place)


def _stays_here(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def _urls_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if _URL.match(value):
            yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _urls_in(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _urls_in(one)
