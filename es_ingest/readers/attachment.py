"""What a FHIR Attachment holds inline, base64 of a declared type, as plain text; and HTML as plain text."""

import base64
import binascii
import re
from html.parser import HTMLParser

from es_ingest.readers.values import RowError

PLAIN = ("text/plain",)
HTML = ("text/html", "application/xhtml+xml")

_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)
_CHARSET = re.compile(r"""(?:charset|encoding)\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE | re.ASCII)
_DECLARED_WITHIN = 1024  # bytes in which HTML has to name its encoding
_BLANKS = re.compile(r"[ \t\n\r\f]+")  # HTML's own; a no-break space is text

# fmt: off
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog", "div", "dl",
    "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header",
    "hr", "html", "legend", "li", "main", "menu", "nav", "ol", "p", "pre", "section", "summary", "table", "tbody",
    "tfoot", "thead", "tr", "ul",
})
# fmt: on
_CELLS = frozenset({"td", "th"})
_DROPPED = frozenset({"script", "style", "template", "title"})  # a browser shows none of them in the page


class UnreadableError(RowError):
    """Why an attachment has no text; another of the same document may have it."""


def media_type(content_type: str) -> str:
    """Return a contentType's media type in lower case, without parameters; "" where it is none.

    :param content_type: As in FHIR, e.g. `text/html; charset=utf-8`. What is no media type may be anything, also text.
    """
    name = content_type.partition(";")[0].strip().lower()
    return name if _TYPE.fullmatch(name) else ""


def decode(data: str, content_type: str) -> str:
    """Turn an attachment's data into text.

    The charset is the one that the contentType names, else the one that HTML names itself, else UTF-8.

    :param data: Base64, blanks in it allowed, as FHIR does.
    :param content_type: The attachment's contentType.
    :returns: Plain text as it stands, without a byte order mark; HTML flattened.
    :raises UnreadableError: If it is of another type or not what it says it is. Names the type, never the data.
    """
    name = media_type(content_type)
    if not name:
        raise UnreadableError("attachment without a contentType that says what its data are")
    if name not in (*PLAIN, *HTML):
        raise UnreadableError(f"attachment of type {name} cannot be read as text")
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableError(f"attachment of type {name} is not base64") from None
    named = _CHARSET.search(content_type)
    if not named and name in HTML:
        named = _CHARSET.search(content[:_DECLARED_WITHIN].decode("latin-1"))
    charset = named[1] if named else "utf-8"
    try:
        text = content.decode(charset).removeprefix("\ufeff")
    except LookupError:
        raise UnreadableError(f"attachment of type {name} is in an unknown charset") from None
    except UnicodeError:
        raise UnreadableError(f"attachment of type {name} is not text in its charset, {charset.lower()}") from None
    return flatten(text) if name in HTML else text


def flatten(html: str) -> str:
    """Turn HTML or XHTML into plain text.

    Each block element, such as a paragraph, stands on lines of its own, the cells of a table's row are parted by tabs,
    and blanks are run together as a browser does, except in `pre`. Scripts, styles and comments are dropped.

    :raises UnreadableError: If it cannot be parsed at all.
    """
    flattener = _Flattener()
    try:
        flattener.feed(html)
        flattener.close()
    except AssertionError:  # the parser's own, for a marked section that is none
        raise UnreadableError("HTML that cannot be parsed") from None
    return "".join(flattener.parts).strip()


class _Flattener(HTMLParser):
    """Collects text; `parts` never ends in a blank that a line break follows."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._dropped = ""  # the element whose content is being left out
        self._verbatim = 0  # how many `pre` are open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if self._dropped:
            return
        if tag in _DROPPED:
            self._dropped = tag
        elif tag == "br":
            self._part_by("\n")
        elif tag in _CELLS and not self._at("\n"):
            self._part_by("\t")
        elif tag in _BLOCKS:
            self._new_line()
        self._verbatim += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if self._dropped:
            self._dropped = "" if tag == self._dropped else self._dropped
            return
        self._verbatim -= tag == "pre" and self._verbatim > 0
        if tag in _BLOCKS:
            self._new_line()

    def handle_data(self, data: str) -> None:
        if self._dropped:
            return
        if not self._verbatim:
            data = _BLANKS.sub(" ", data)
            data = data.removeprefix(" ") if self._at(" ", "\n", "\t") else data
        if data:
            self.parts.append(data)

    def unknown_decl(self, data: str) -> None:
        # XHTML may hold its text in sections of character data.
        if data.startswith("CDATA["):
            self.handle_data(data.removeprefix("CDATA["))

    def _at(self, *ends: str) -> bool:
        return not self.parts or self.parts[-1].endswith(ends)

    def _new_line(self) -> None:
        if not self._at("\n"):
            self._part_by("\n")

    def _part_by(self, separator: str) -> None:
        if self.parts and not self._verbatim:
            self.parts[-1] = self.parts[-1].removesuffix(" ")
        self.parts.append(separator)
