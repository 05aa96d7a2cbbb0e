"""FHIR R4 resources as Bulk Data Access exports them: NDJSON of DocumentReference and DiagnosticReport.

    {"resourceType": "DocumentReference", "id": "7", "status": "current", "type": {"text": "Progress note"}, "content":
     [{"attachment": {"contentType": "text/plain", "data": "UGFpbg=="}}]}

One record per document, its id `DocumentReference/7`. Other resources, which are no documents, and those entered in
error are left out; how many there are is logged. A line that is a Bundle gives the resources of its entries.

Text. A DocumentReference's is its first attachment that can be read: FHIR has several be the same document in several
formats. A DiagnosticReport's is its conclusion (or else its conclusion codes' displays), a blank line, and the first of
its presented forms that can be read, the same report in several formats again. The narrative `text.div` is the last
resort of a resource that has nothing of these. Attachments have to be inline: one that is a URL alone is not fetched.
`attachment.py` tells which types can be read.

A field of another type than FHIR gives it makes its resource malformed, also where another field is taken first; fields
that are never read are not looked at.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from es_ingest.readers.attachment import UnreadableError, decode, flatten, media_type
from es_ingest.readers.fields import TEXT_JOIN
from es_ingest.readers.folder import LeftOut, walk
from es_ingest.readers.jsonl import parse_object
from es_ingest.readers.mapping import FieldMapping
from es_ingest.readers.registry import Reader
from es_ingest.readers.streams import STDIN, UTF8_BOM, label, read_lines, watched
from es_ingest.readers.values import RowError, raw_bytes, raw_of, raw_text, scrub
from es_ingest.records import Malformed, ReadError, Record

logger = logging.getLogger(__name__)

SUFFIXES = (".ndjson",)
IN_ERROR = "entered-in-error"
_RESOURCE_TYPE = re.compile("[A-Z][A-Za-z]{1,59}")
_TYPED = re.compile(rb'\{.*?"resourceType"\s*:\s*"[A-Z][A-Za-z]+"')  # in a string the quotes would be escaped
# Some clients of Bulk Data Access number the files: 1.DocumentReference.ndjson.
_FILE = re.compile(r"(\d+\.)?(DocumentReference|DiagnosticReport).*\.ndjson(\.gz|\.zst)?", re.IGNORECASE)


@dataclass(slots=True)
class _Tally:
    """What is left out of a source, for its log lines."""

    types: Counter[str] = field(default_factory=Counter)
    in_error: int = 0
    narratives: int = 0
    partial: int = 0

    def log(self, source: str) -> None:
        if self.types:
            each = ", ".join(f"{count} {name}" for name, count in sorted(self.types.items()))
            logger.info("%s: left out %d resources that are no documents: %s", source, self.types.total(), each)
        if self.in_error:
            logger.info("%s: left out %d resources entered in error", source, self.in_error)
        if self.narratives:
            logger.info("%s: took the narrative of %d resources that have no other text", source, self.narratives)
        if self.partial:
            logger.warning("%s: %d reports are without their forms, which cannot be read as text", source, self.partial)


@dataclass(frozen=True, slots=True)
class _Element:
    """An object within a resource, whose fields are taken by their types; missing ones are blank or empty."""

    values: dict[str, Any]
    path: str = ""

    def string(self, name: str) -> str:
        return scrub(self._get(name, str, "a string") or "")

    def element(self, name: str) -> "_Element":
        return _Element(self._get(name, dict, "an object") or {}, self._at(name))

    def elements(self, name: str) -> list["_Element"]:
        found = []
        for number, value in enumerate(self._get(name, list, "a list") or []):
            path = f"{self._at(name)}[{number}]"
            if not isinstance(value, dict):
                raise RowError(f"{path} is not an object")
            found.append(_Element(value, path))
        return found

    def _get(self, name: str, kind: type, words: str) -> Any:
        value = self.values.get(name)
        if value is not None and not isinstance(value, kind):
            raise RowError(f"{self._at(name)} is not {words}")
        return value

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def read(source: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:  # noqa: ARG001
    """Stream the documents of one NDJSON file, or of a folder of them.

    :param source: A file, plain or packed, a folder (its .ndjson files at any depth, sorted), or "-".
    :param fields: Not used; FHIR's fields are fixed.
    :raises ReadError: If the file cannot be read at all, or the folder holds no .ndjson file.
    """
    tally = _Tally()
    if source == STDIN or not Path(source).is_dir():
        yield from _file(source, tally)
    else:
        files, left_out = 0, LeftOut()
        for item in walk(source, SUFFIXES, left_out):
            files += 1
            try:
                yield from [item] if isinstance(item, Malformed) else watched(item, _file(item, tally))
            except ReadError as error:
                yield Malformed(error.path, error.reason, gap=True)
        left_out.log(source, ".ndjson files")
        if not files:
            raise ReadError(source, "holds no .ndjson file; name the folder that an export was saved in")
    tally.log(label(source))


def _file(source: str, tally: _Tally) -> Iterator[Record | Malformed]:
    for item in read_lines(source):
        if isinstance(item, Malformed):
            yield item
            continue
        number, line = item
        if not line.strip():
            continue
        position = f"{label(source)}:{number}"
        try:
            yield from _line(line, position, tally)
        except RowError as error:
            yield Malformed(position, str(error), raw_text(line).rstrip("\r\n"))


def again(raw: str, position: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:  # noqa: ARG001
    """Read a line of dead letters once more, or the resource of an entry; see `Reader.again`."""
    return _line(raw_bytes(raw), position, _Tally())


def _line(line: bytes, position: str, tally: _Tally) -> Iterator[Record | Malformed]:
    resource = parse_object(line)
    if resource.get("resourceType") == "Bundle":
        yield from _bundle(_Element(resource), position, tally)
    elif record := _record(_Element(resource), position, tally):
        yield record


def _bundle(bundle: _Element, position: str, tally: _Tally) -> Iterator[Record | Malformed]:
    """Read a Bundle's entries; those without a resource, such as deletions, are none."""
    for number, entry in enumerate(bundle.elements("entry"), start=1):
        here = f"{position}#{number}"
        try:
            resource = entry.element("resource")
            # Paths in messages start at the resource, as they do for one that has its own line.
            record = _record(_Element(resource.values), here, tally) if resource.values else None
        except RowError as error:
            yield Malformed(here, str(error), raw_of(entry.values["resource"]))
        else:
            if record:
                yield record


def _record(resource: _Element, position: str, tally: _Tally) -> Record | None:
    """Make a record of a document; None for what is left out, which is counted."""
    kind = resource.string("resourceType")
    if not _RESOURCE_TYPE.fullmatch(kind):
        raise RowError("resourceType is not the name of a FHIR resource")
    if kind not in _DOCUMENTS:
        tally.types[kind] += 1
        return None
    if IN_ERROR in (resource.string("status"), resource.string("docStatus")):
        tally.in_error += 1
        return None
    if not resource.string("id").strip():
        raise RowError("id is missing")
    shared = {
        "resource_type": kind,
        "subject": resource.element("subject").string("reference"),
        "status": resource.string("status"),
        "category": list(filter(None, map(_category, resource.elements("category")))),
        "language": resource.string("language"),
    }
    narrative = resource.element("text")
    narrative_status, div = narrative.string("status"), narrative.string("div")
    title, text, meta = _DOCUMENTS[kind](resource, tally)
    if not text.strip():
        text = "" if narrative_status == "empty" else flatten(div)
        if not text:
            raise RowError("empty text")
        tally.narratives += 1
    # The attachment's language is the text's; the resource's is the one its labels are in.
    meta = {name: value for name, value in (shared | {k: v for k, v in meta.items() if v}).items() if value}
    return Record(f"{kind}/{resource.string('id')}", title, scrub(text), meta, position)


def _document_reference(resource: _Element, tally: _Tally) -> tuple[str, str, dict[str, Any]]:  # noqa: ARG001
    kind = resource.element("type")
    attachments = [content.element("attachment") for content in resource.elements("content")]
    text, used, reason = _first_readable(attachments)
    if reason:
        raise RowError(reason)
    meta = {
        "encounter": _first(resource.element("context").elements("encounter"), "reference"),
        "date": resource.string("date"),
        "type": _display(kind),
        "type_codes": _codes(kind),
        "doc_status": resource.string("docStatus"),
        "author": _names(resource.elements("author")),
    }
    return resource.string("description") or _display(kind), text, meta | used


def _diagnostic_report(resource: _Element, tally: _Tally) -> tuple[str, str, dict[str, Any]]:
    code = resource.element("code")
    conclusion = resource.string("conclusion")
    coded = "; ".join(filter(None, map(_display, resource.elements("conclusionCode"))))
    conclusion = conclusion if conclusion.strip() else coded
    form, used, reason = _first_readable(resource.elements("presentedForm"))
    if reason and not conclusion:
        raise RowError(reason)
    dates = [resource.string("effectiveDateTime"), resource.element("effectivePeriod").string("start")]
    meta = {
        "encounter": resource.element("encounter").string("reference"),
        "date": next(filter(None, [*dates, resource.string("issued")]), ""),
        "type": _display(code),
        "type_codes": _codes(code),
        "author": _names(resource.elements("performer")),
    }
    tally.partial += bool(reason)
    return _display(code), TEXT_JOIN.join(filter(None, (conclusion, form))), meta | used


_DOCUMENTS: dict[str, Callable[[_Element, _Tally], tuple[str, str, dict[str, Any]]]] = {
    "DocumentReference": _document_reference,
    "DiagnosticReport": _diagnostic_report,
}


def _first_readable(attachments: list[_Element]) -> tuple[str, dict[str, str], str]:
    """Return the text and the metadata of the first attachment that has text; without one, why the first has none."""
    reasons = []
    names = ("data", "url", "contentType", "language")
    for data, url, content_type, language in [tuple(map(one.string, names)) for one in attachments]:
        try:
            if url and not data:
                named = media_type(content_type) or "unknown"
                raise UnreadableError(f"attachment of type {named} is a URL alone; export with attachments inline")
            text = decode(data, content_type) if data else ""
        except UnreadableError as error:
            reasons.append(str(error))
            continue
        if text.strip():
            return text, {"content_type": media_type(content_type), "language": language}, ""
    return "", {}, next(iter(reasons), "")


def _first(elements: list[_Element], name: str) -> str:
    """Return the first of some objects' strings, all of which have their types checked."""
    return next(filter(None, [element.string(name) for element in elements]), "")


def _display(concept: _Element) -> str:
    """Return what a CodeableConcept is called."""
    display = _first(concept.elements("coding"), "display")
    return concept.string("text") or display


def _codes(concept: _Element) -> list[str]:
    """List a CodeableConcept's codings the way FHIR's searches spell them: `http://loinc.org|11506-3`."""
    codings = ((coding.string("system"), coding.string("code")) for coding in concept.elements("coding"))
    return [f"{system}|{code}" for system, code in codings if code]


def _category(concept: _Element) -> str:
    code = _first(concept.elements("coding"), "code")
    return _display(concept) or code


def _names(references: list[_Element]) -> list[str]:
    both = [(one.string("display"), one.string("reference")) for one in references]
    return list(filter(None, (display or reference for display, reference in both)))


def _accepts(path: Path) -> bool:
    if path.is_dir():
        return any(isinstance(item, str) and _FILE.fullmatch(Path(item).name) for item in walk(str(path), SUFFIXES))
    return _FILE.fullmatch(path.name) is not None


def _begins(data: bytes) -> bool:
    """Tell whether the first line is a resource; it may be longer than what is there of it."""
    line = data.removeprefix(UTF8_BOM).lstrip().partition(b"\n")[0]
    try:
        return _RESOURCE_TYPE.fullmatch(str(parse_object(line).get("resourceType") or "")) is not None
    except RowError:
        return _TYPED.match(line) is not None


READER = Reader(
    name="fhir",
    description="FHIR R4 bulk export: one record per DocumentReference or DiagnosticReport with inline text",
    source="a DocumentReference or DiagnosticReport .ndjson file, plain, .gz or .zst, a folder of them, or - for stdin",
    read=read,
    accepts=_accepts,
    stdin=True,
    begins=_begins,
    again=again,
)
