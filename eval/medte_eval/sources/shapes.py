"""What sources send, checked against what they document: JSON by pydantic models, XML element by element."""

import re
from collections.abc import Callable, Collection, Iterator
from typing import IO, TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError

from es_ingest.readers.streams import DAMAGED, reason_of
from es_ingest.readers.values import RowError, parse_json
from medte_eval.sources.access import Access, Request
from medte_eval.sources.errors import SourceError, TransientError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

M = TypeVar("M", bound=BaseModel)
Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
"""A string; null is taken for an empty one."""
Check = Callable[[Request, dict[str, Any]], None]
_BLANKS = re.compile("[ \t\r\n]+")  # XML's own: a no-break space is text


class XmlError(Exception):
    """XML that is not well-formed or not what was asked for; says where."""


class MissingElementError(XmlError):
    """XML of another shape than documented."""


def fetch_json(access: Access, request: Request, model: type[M], check: Check | None = None) -> M:
    """Ask for JSON of a known shape.

    :param check: Looks at an object before its shape is checked: for errors that a host reports with status 200, and
        for replies that hold nothing. What it raises an error for is not kept.
    :raises SourceError: If it cannot be had, or its shape is another. Names the URL and the field.
    """

    def read(body: bytes) -> M:
        try:
            value = parse_json(body)
        except RowError as error:
            raise TransientError(f"answered what is {error}") from None
        if check is not None and isinstance(value, dict):
            check(request, value)
        return checked(model, value, request.host.source, request.url)

    return access.fetch(request, read)


def checked(model: type[M], value: object, source: str, place: str) -> M:
    """Take a value as a model's.

    :param place: Where the value is from, for the message.
    :raises SourceError: If it is none. Names the first field that is wrong.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        what = "not an object" if first["type"] == "model_type" else first["msg"]
        raise SourceError(source, place, f"field '{field}' is not as documented: {what}" if field else what) from None


def elements(stream: IO[bytes], tags: Collection[str], roots: Collection[str]) -> "Iterator[Element]":
    """Stream the elements of some tags; each is emptied when the next one is asked for.

    A document type is not fetched; one that declares entities is refused.

    :param tags: Of the elements, which hold none of these themselves. May be the root's.
    :param roots: The root elements that are right.
    :raises XmlError: If the root is another, or the XML is refused, damaged or not well-formed. Says where.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    root: Element | None = None
    try:
        for event, element in iterparse(stream, events=("start", "end")):
            if root is None:
                root = element
                if root.tag not in roots:
                    raise XmlError(f"its root element is <{root.tag[:40]}>, not <{'> or <'.join(roots)}>")
            if event == "end" and element.tag in tags:
                yield element
                root.clear()
    except ParseError as error:
        line, column = error.position
        what = "refers to an entity that is not defined" if "undefined entity" in str(error) else "not well-formed XML"
        raise XmlError(f"{what} at line {line}, column {column + 1}") from None
    except DefusedXmlException as error:
        raise XmlError(f"declares entities, which are refused ({type(error).__name__})") from None
    except DAMAGED as error:
        raise XmlError(reason_of(error)) from None
    except (ValueError, LookupError):
        raise XmlError("declares an encoding that cannot be read; save it as UTF-8") from None


def text_of(element: "Element | None") -> str:
    """Return an element's text without mark-up, white space collapsed; "" for None."""
    return "" if element is None else _BLANKS.sub(" ", "".join(element.itertext())).strip()
