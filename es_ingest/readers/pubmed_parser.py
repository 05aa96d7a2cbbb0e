"""The elements of PubMed's XML, one after the other and in bounded memory."""

import io
from typing import TYPE_CHECKING, cast

from es_ingest.readers.streams import DAMAGED, reason_of

# The XML packages are imported where they are used: they would double what importing the readers costs.
if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_ARTICLE_BYTES = 16 * 2**20  # of XML; thousands of authors with their addresses take some 5 MB
ROOTS = ("PubmedArticleSet", "PubmedBookArticleSet")
ARTICLES = ("PubmedArticle", "PubmedBookArticle")
DELETED = "DeleteCitation"
_CHUNK_BYTES = 2**16


class _RefusedError(Exception):
    """Why a file is not read, though it may be well-formed."""


class Parser:
    """Builds one article after the other and lets go of it; nothing else of the file is held.

    It works on expat itself, and refuses what defusedxml refuses: the parser of that package takes twice as long, and
    gives the whole file up at an undefined entity.
    """

    def __init__(self, stream: io.BufferedIOBase) -> None:
        from xml.etree.ElementTree import TreeBuilder
        from xml.parsers import expat

        self.ended = False
        self._stream = stream
        self._xml = expat
        self._finished: list[tuple[Element, str]] = []
        self._builder = TreeBuilder()
        self._root: Element | None = None
        self._entity = ""  # the first undefined one since the last article
        self._fed = self._kept_from = 0  # bytes
        self._expat = expat.ParserCreate()
        self._expat.buffer_text = True
        self._expat.StartDoctypeDeclHandler = self._doctype
        self._expat.StartElementHandler = self._start_root
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._builder.data
        self._expat.SkippedEntityHandler = self._undefined

    def step(self) -> str:
        """Take the next chunk; return why nothing more can be read, or ""."""
        try:
            chunk = self._stream.read1(_CHUNK_BYTES)  # read would drop what it has when a compressed file breaks off
            self.ended = not chunk
            self._fed += len(chunk)
            self._expat.Parse(chunk, self.ended)
            if self._fed - self._kept_from > MAX_ARTICLE_BYTES + _CHUNK_BYTES:
                raise _RefusedError(f"an article is larger than the limit of {MAX_ARTICLE_BYTES} bytes")
        except self._xml.ExpatError as error:
            more = error.code == self._xml.errors.codes[self._xml.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT]
            what = "another document begins; split the file there" if more else self._xml.ErrorString(error.code)
            failure = f"not well-formed XML at line {error.lineno}, column {error.offset + 1}: {what}"
        except DAMAGED as error:
            failure = reason_of(error)
        except _RefusedError as error:
            failure = str(error)
        except (ValueError, LookupError):
            failure = "declares an encoding that cannot be read; save it as UTF-8"
        else:
            return ""
        self.ended = True
        return failure

    def take(self) -> list[tuple["Element", str]]:
        """Hand over the articles and deletions that are complete, each with the first undefined entity in it, or ""."""
        taken, self._finished = self._finished, []
        return taken

    def _doctype(self, name: str, system: str | None, public: str | None, subset: int) -> None:  # noqa: ARG002
        # expat reads no external DTD unless told to, so that nothing at all can be declared elsewhere.
        if subset:
            raise _RefusedError("its DOCTYPE declares entities or other markup, which is refused; take out the [...]")

    def _start_root(self, tag: str, attributes: dict[str, str]) -> None:
        if tag not in ROOTS:
            raise _RefusedError(f"not PubMed XML: its root element is <{tag[:40]}>, not <{ROOTS[0]}>")
        self._root = self._builder.start(tag, attributes)
        self._expat.StartElementHandler = self._builder.start

    def _end(self, tag: str) -> None:
        element = self._builder.end(tag)
        if tag in ARTICLES or tag == DELETED:
            self._finished.append((element, self._entity))
            self._entity = ""
            self._kept_from = self._expat.CurrentByteIndex
            cast("Element", self._root).clear()

    def _undefined(self, name: str, is_parameter: bool) -> None:  # noqa: ARG002
        self._entity = self._entity or name
