"""A `Connection`: the address of an Elasticsearch server and what opens it, made from a URL and the environment."""

import logging
import re
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from es_ingest.cluster.errors import AuthenticationError, NoServerError, OptionError

if TYPE_CHECKING:
    from elasticsearch import AsyncElasticsearch, Elasticsearch

Kind = Literal["url", "docker", "local"]
DEFAULT_PORTS = {"http": 9200, "https": 443}
OTHER_NAME = (62, 64)  # OpenSSL's codes of a certificate that is for another host name, another IP address
Fault = TypeVar("Fault", bound=BaseException)
logger = logging.getLogger("es_ingest.cluster")


@dataclass(frozen=True)
class Connection:
    """A server that answered.

    :param url: address without credentials, always with a port.
    :param kind: ``url`` (yours), ``docker`` (a container of ours) or ``local`` (a process of ours).
    :param reason: one line that says which server was chosen and why.
    :param version: the server's version; None when the credentials may not read it.
    :param api_key: encoded API key; never shown.
    :param basic_auth: user name and password; never shown.
    :param ca_certs: file with the certificates to trust.
    """

    url: str
    kind: Kind
    reason: str = ""
    version: str | None = None
    api_key: str | None = field(default=None, repr=False)
    basic_auth: tuple[str, str] | None = field(default=None, repr=False)
    ca_certs: str | None = None

    def client_options(self) -> dict[str, Any]:
        """Return the keyword arguments that open this server: `hosts` and, where set, credentials and `ca_certs`.

        They contain secrets: do not print them.
        """
        options: dict[str, Any] = {"hosts": [self.url]}
        for name in ("api_key", "basic_auth", "ca_certs"):
            value = getattr(self, name)
            if value is not None:
                options[name] = value
        return options

    def client(self, **options: Any) -> "Elasticsearch":
        """Open a client.

        :param options: anything `elasticsearch.Elasticsearch` takes; it wins over this connection's own values.
        """
        from elasticsearch import Elasticsearch

        from es_ingest.cluster.node import InfoNode
        from medte_haystack.index.serialisers import serialisers

        own = {"node_class": InfoNode, "serializers": serialisers()}
        return Elasticsearch(**{**self.client_options(), **own, **options})

    def async_client(self, **options: Any) -> "AsyncElasticsearch":
        """Open an asynchronous client; close it with ``await client.close()``.

        :param options: anything `elasticsearch.AsyncElasticsearch` takes; it wins over this connection's own values.
        """
        from elasticsearch import AsyncElasticsearch

        from es_ingest.cluster.node import AsyncInfoNode
        from medte_haystack.index.serialisers import serialisers

        own = {"node_class": AsyncInfoNode, "serializers": serialisers()}
        return AsyncElasticsearch(**{**self.client_options(), **own, **options})


def parse_url(text: str) -> tuple[str, tuple[str, str] | None]:
    """Split a URL into the address and the credentials it carried.

    A missing port becomes 443 for https and 9200 for http. A path in front of the server (a proxy's) is kept.

    :param text: such as ``https://user:password@search.example.org:9200``.
    :returns: the address without credentials, and (user, password) or None.
    :raises OptionError: if it is not an http or https URL.
    """
    shown = text.rpartition("@")[2]
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise OptionError(
            f"{shown!r} is not a URL of a server; write it like http://localhost:9200", value=shown
        ) from (None if "@" in text else error)
    if parts.scheme not in DEFAULT_PORTS or not host:
        message = f"{shown!r} is neither auto, docker, local nor an http(s) URL such as http://localhost:9200"
        raise OptionError(message, value=shown)
    if "@" in parts.path + parts.query + parts.fragment:
        raise OptionError(
            f"percent-encode the password in the URL of {shown!r}: / is %2F, # is %23, ? is %3F", value=shown
        )
    host = f"[{host}]" if ":" in host else host
    netloc = f"{host}:{port if port is not None else DEFAULT_PORTS[parts.scheme]}"
    auth = None
    if parts.username is not None:
        auth = (unquote(parts.username), unquote(parts.password or ""))
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", "")), auth


def connection_from_url(
    text: str,
    env: Mapping[str, str],
    *,
    reason: str = "",
    api_key: str | None = None,
    ca_certs: str | None = None,
    username: str | None = None,
    password: str | None = None,
) -> Connection:
    """Build an unchecked connection.

    The first of these that is set gives the credentials: the arguments, the URL, ``ES_API_KEY``,
    ``ES_USERNAME`` with ``ES_PASSWORD``. ``ES_CA_CERTS`` gives the certificates.

    :param text: the URL, perhaps with user:password in it.
    :param env: the environment.
    :param reason: why this server.
    :param api_key: encoded API key.
    :param ca_certs: file with certificates to trust.
    :param username: user name, together with `password`.
    :param password: password, together with `username`.
    :raises OptionError: if the URL is not one, half of a user and password is missing, the API key cannot be one, or
        the file holds no certificates.
    """
    url, in_url = parse_url(text)
    if in_url and any(text in word for word in sys.argv):
        logger.warning(
            "everyone on this machine can see the password in the URL in the list of processes (ps); give it by"
            " ES_USERNAME and ES_PASSWORD"
        )
    api_key = _checked_key(api_key)
    basic = _pair(username, password, "username and password")
    if not api_key and not basic:
        basic = in_url
    if not api_key and not basic:
        api_key = _checked_key(env.get("ES_API_KEY"))
    if not api_key and not basic:
        basic = _pair(env.get("ES_USERNAME"), env.get("ES_PASSWORD"), "ES_USERNAME and ES_PASSWORD")
    ca_certs = ca_certs or env.get("ES_CA_CERTS") or None
    if ca_certs:
        _check_certificates(ca_certs)
    if ca_certs and url.startswith("http:"):
        raise OptionError(
            f"{url} is plain http but certificates are given; write https or unset ES_CA_CERTS", value=url
        )
    if (api_key or basic) and url.startswith("http:") and not is_loopback(url):
        logger.warning("the credentials travel unencrypted to %s; use https", url)
    # An API key wins where both are given: the client refuses to be handed two ways in.
    return Connection(url, "url", reason, None, api_key, None if api_key else basic, ca_certs)


def is_loopback(url: str) -> bool:
    """Say whether a URL points at this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check(connection: Connection, timeout: float = 10.0) -> Connection:
    """Ask the server who it is.

    :param connection: where to ask.
    :param timeout: seconds to wait for an answer.
    :returns: the connection with the server's version.
    :raises AuthenticationError: if it refuses the credentials.
    :raises NoServerError: if nothing answers, or something that is not Elasticsearch.
    """
    import elasticsearch

    url = connection.url
    with connection.client(request_timeout=timeout, max_retries=1) as client:
        try:
            version = str(client.info()["version"]["number"])
        except elasticsearch.AuthorizationException:
            logger.info("%s answers, but these credentials may not read its version", url)
            return connection
        except elasticsearch.AuthenticationException as error:
            raise AuthenticationError(_refusal(connection), url=url) from error
        except elasticsearch.SSLError as error:
            raise NoServerError(_tls_fault(url, error), url=url) from error
        except (elasticsearch.ConnectionError, elasticsearch.ConnectionTimeout) as error:
            cause = _cause(error.errors[-1] if error.errors else error, OSError)
            why = f" ({cause.strerror.lower()})" if cause and cause.strerror else ""
            message = f"nothing answers at {url}{why}; is the server running?"
            if url.startswith("http:") and _cause(error, ConnectionResetError):
                message = f"{url} ends the connection without an answer; if the server has TLS, write https://"
            raise NoServerError(message, url=url) from error
        except (elasticsearch.UnsupportedProductError, elasticsearch.ApiError, KeyError, TypeError) as error:
            message = f"what answers at {url} is not an Elasticsearch server of version 8 or 9: {error}"
            raise NoServerError(message, url=url) from error
        except elasticsearch.SerializationError as error:
            raise NoServerError(f"what answers at {url} is not Elasticsearch: {error}", url=url) from error
    return replace(connection, version=version)


def _refusal(connection: Connection) -> str:
    url = connection.url
    if connection.api_key:
        return f"{url} refuses the API key; set ES_API_KEY to the encoded form of one that is valid"
    if connection.basic_auth:
        return f"{url} refuses the user name or the password; correct ES_USERNAME and ES_PASSWORD, or set ES_API_KEY"
    return f"{url} wants credentials; set ES_API_KEY, or ES_USERNAME and ES_PASSWORD"


def _tls_fault(url: str, error: Exception) -> str:
    unverified = _cause(error, ssl.SSLCertVerificationError)
    if unverified is None:
        return f"no TLS with {url}: {_cause(error, ssl.SSLError) or error}; if the server has none, write http://"
    what = unverified.verify_message
    if unverified.verify_code in OTHER_NAME:
        return f"the certificate of {url} is another's: {what} Write the name that it is for in the URL"
    return f"the certificate of {url} is not trusted: {what}; set ES_CA_CERTS to the file of the CA that signed it"


def _cause(error: BaseException | None, kind: type[Fault]) -> Fault | None:
    """Return the error of a kind that led to another one."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error


def _checked_key(api_key: str | None) -> str | None:
    key = (api_key or "").strip()
    if not re.fullmatch(r"[!-~]*", key):
        message = (
            "the API key holds characters that no key has, such as a line break; set ES_API_KEY to the encoded key"
        )
        raise OptionError(message, value="ES_API_KEY")
    return key or None


def _check_certificates(path: str) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # an SSLError is one
        message = (
            f"no certificates can be read from {path} ({error.strerror}); correct ES_CA_CERTS: a file in PEM format"
        )
        raise OptionError(message, value=path) from error


def _pair(first: str | None, second: str | None, names: str) -> tuple[str, str] | None:
    if bool(first) != bool(second):
        raise OptionError(f"only one of {names} is set; set both or neither", value=names)
    return (first, second) if first and second else None
