r"""ClinicalTrials.gov: studies as version 2 of its API gives them, in JSON. One record per study.

    {"protocolSection": {"identificationModule": {"nctId": "NCT01234567", ...}, ...}, "hasResults": false}

A file holds one study, a page of them ({"studies": [...], "nextPageToken": ...}), a list of them ([...], the site's
ctg-studies.json), or any of these on each of its lines. A page, a list or a single study is read whole, at some six
times its size in memory, hence the limit; lines are streamed. Of a folder the files like NCT01234567.json are read, of
an archive (the site's ctg-studies.json.zip, one file per study) every .json file.

Record ids are NCT numbers, so that a later version of a study overwrites. The text is the brief summary, the detailed
description and the eligibility criteria, each under a heading, as the API gives them (Markdown with its escapes, such
as \>= 18); a study without any of them has its title for its text, and no title beside it. Any field may be missing;
one of another type than the API's makes its study malformed. Dates are as exact as they are given: 2020-05-07, 2020-05
or 2020.
"""

import datetime
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from es_ingest.readers.fields import TEXT_JOIN
from es_ingest.readers.folder import LeftOut, all_files, file_or_gone
from es_ingest.readers.mapping import FieldMapping
from es_ingest.readers.registry import Reader
from es_ingest.readers.streams import DAMAGED, PACKED, open_bytes, read_lines, reason_of, watched
from es_ingest.readers.values import RowError, parse_json, raw_bytes, raw_text, scrub
from es_ingest.records import Malformed, ReadError, Record

MAX_FILE_BYTES = 256 * 2**20  # a page of the API has 1,000 studies at most, some 20 MB
_MAX_RAW_CHARACTERS = 16 * 2**20  # a study with results may have several million
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
_LINES = (".jsonl", ".ndjson")
_NCT = re.compile("NCT[0-9]{8}")
_DATE = re.compile("[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?")
_STUDY_FILE = re.compile(r"nct[0-9]{8}\.json(\.gz|\.zst)?", re.IGNORECASE)
_SITE_FILE = re.compile(r"ctg-.*\.(zip|(json|jsonl|ndjson)(\.gz|\.zst)?)", re.IGNORECASE)
_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a whole number"}

_PROTOCOL = "protocolSection"
_ID = f"{_PROTOCOL}.identificationModule.nctId"
_TITLES = tuple(f"{_PROTOCOL}.identificationModule.{name}" for name in ("briefTitle", "officialTitle"))
_SECTIONS = {
    "Brief summary": f"{_PROTOCOL}.descriptionModule.briefSummary",
    "Detailed description": f"{_PROTOCOL}.descriptionModule.detailedDescription",
    "Eligibility criteria": f"{_PROTOCOL}.eligibilityModule.eligibilityCriteria",
}
# Metadata by name: the path of its field, in which name[] stands for every item of a list, and what it holds.
_META: dict[str, tuple[str, type]] = {
    "official_title": (_TITLES[1], str),
    "conditions": (f"{_PROTOCOL}.conditionsModule.conditions[]", str),
    "keywords": (f"{_PROTOCOL}.conditionsModule.keywords[]", str),
    "interventions": (f"{_PROTOCOL}.armsInterventionsModule.interventions[].name", str),
    "intervention_types": (f"{_PROTOCOL}.armsInterventionsModule.interventions[].type", str),
    "phases": (f"{_PROTOCOL}.designModule.phases[]", str),
    "study_type": (f"{_PROTOCOL}.designModule.studyType", str),
    "enrollment": (f"{_PROTOCOL}.designModule.enrollmentInfo.count", int),
    "status": (f"{_PROTOCOL}.statusModule.overallStatus", str),
    "start_date": (f"{_PROTOCOL}.statusModule.startDateStruct.date", datetime.date),
    "completion_date": (f"{_PROTOCOL}.statusModule.completionDateStruct.date", datetime.date),
    "last_update": (f"{_PROTOCOL}.statusModule.lastUpdatePostDateStruct.date", datetime.date),
    "sponsor": (f"{_PROTOCOL}.sponsorCollaboratorsModule.leadSponsor.name", str),
    "sex": (f"{_PROTOCOL}.eligibilityModule.sex", str),
    "minimum_age": (f"{_PROTOCOL}.eligibilityModule.minimumAge", str),
    "maximum_age": (f"{_PROTOCOL}.eligibilityModule.maximumAge", str),
    "countries": (f"{_PROTOCOL}.contactsLocationsModule.locations[].country", str),
    "has_results": ("hasResults", bool),
}


def read(source: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:  # noqa: ARG001
    """Stream the studies of one source.

    :param source: A file (.json, .jsonl or .ndjson, plain, gzip or zstd), a folder of NCT*.json files at any depth, in
        sorted order, or an archive of .json files, in its own order.
    :param fields: Not used; the fields of ClinicalTrials.gov are fixed.
    :raises ReadError: If the source cannot be read at all, or a folder or archive holds no such file.
    """
    path = Path(source)
    if path.is_dir():
        yield from _folder(path)
    elif path.name.lower().endswith(ARCHIVES):
        yield from _archive(source)
    else:
        yield from _file(source)


def _folder(path: Path) -> Iterator[Record | Malformed]:
    files, left_out = 0, LeftOut()
    found, unlisted = all_files(path)
    for file in found:
        if not _STUDY_FILE.fullmatch(file.name) or not file_or_gone(file):
            if file.is_file() and not file.name.startswith("."):
                left_out.add(str(file))
            continue
        files += 1
        try:
            yield from watched(str(file), _file(str(file)))
        except ReadError as error:
            yield Malformed(error.path, error.reason, gap=True)
    yield from unlisted
    left_out.log(str(path), "files like NCT01234567.json")
    if not files:
        raise ReadError(str(path), "holds no file like NCT01234567.json; name its files, or a pattern: 'folder/*.json'")


def _archive(source: str) -> Iterator[Record | Malformed]:
    from es_ingest.readers.archive import members

    files = 0
    for item in members(source, ".json", MAX_FILE_BYTES):
        files += 1
        if isinstance(item, Malformed):
            yield item
        else:
            yield from _studies(item.data, item.position)
    if not files:
        raise ReadError(source, "holds no .json file; an archive of ClinicalTrials.gov has one for each study")


def _file(source: str) -> Iterator[Record | Malformed]:
    name = source.lower().removesuffix(PACKED[0]).removesuffix(PACKED[1])
    data = None if name.endswith(_LINES) else _whole(source)
    if data is None:
        yield from _lines(source)
    elif len(data) > MAX_FILE_BYTES:
        yield Malformed(
            source, f"larger than the limit of {MAX_FILE_BYTES} bytes; save it as JSON Lines, one study on each line"
        )
    else:
        yield from _studies(data, source)


def _whole(source: str) -> bytes | None:
    """Read a file, or one byte more than the limit of it; return None if it turns out to be JSON Lines."""
    with open_bytes(source) as stream:
        try:
            first = stream.readline(MAX_FILE_BYTES + 1)
            behind = stream.read(2**16)
            if behind.strip() and first.strip():
                try:
                    parse_json(first)
                except RowError:
                    pass  # the first line of a text that goes on
                else:
                    return None
            rest = stream.read(max(0, MAX_FILE_BYTES + 1 - len(first) - len(behind)))
        except DAMAGED as error:
            raise ReadError(source, f"cannot be read: {reason_of(error)}") from error
    return first + behind + rest


def _lines(source: str) -> Iterator[Record | Malformed]:
    for item in read_lines(source):
        if isinstance(item, Malformed):
            yield item
        elif item[1].strip():
            yield from _studies(item[1].rstrip(b"\r\n"), f"{source}:{item[0]}", keep=True)


def again(raw: str, position: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:  # noqa: ARG001
    """Read a study of dead letters once more, or a line that was none; see `Reader.again`."""
    return _studies(raw_bytes(raw), position, keep=True)


def _studies(data: bytes, position: str, keep: bool = False) -> Iterator[Record | Malformed]:
    """Give the studies of one JSON text: the single one at its position, those of a page or list with their number.

    :param keep: Whether to keep the text for the dead letters where it is no JSON; a study's own text always is.
    """
    try:
        value = parse_json(data)
        page = isinstance(value, dict) and _PROTOCOL not in value and "studies" in value
        studies = next(iter(_values(value, "studies", list)), []) if page else value
    except RowError as error:
        yield Malformed(position, str(error), raw_text(data) if keep else None)
        return
    if isinstance(studies, list):
        for number, study in enumerate(studies, start=1):
            yield _record(study, f"{position}#{number}")
    else:
        yield _record(studies, position)


def _record(study: Any, position: str) -> Record | Malformed:
    try:
        if not isinstance(study, dict) or _PROTOCOL not in study:
            raise RowError(f"not a study of the API's version 2, which is an object with the field '{_PROTOCOL}'")
        nct = _first(study, _ID)
        if not _NCT.fullmatch(nct):
            raise RowError(f"field '{_ID}' is " + ("not like NCT01234567" if nct else "missing"))
        title = _first(study, _TITLES[0]) or _first(study, _TITLES[1])
        sections = ((heading, _first(study, path)) for heading, path in _SECTIONS.items())
        text = TEXT_JOIN.join(f"{heading}:\n{value}" for heading, value in sections if value)
        if not text:
            title, text = "", title
        if not text:
            raise RowError("neither title nor text")
        meta = {name: value for name in _META if (value := _meta(study, name)) not in (None, [])}
    except RowError as error:
        return Malformed(position, str(error), _raw(study))
    return Record(nct, title, text, meta | {"url": f"https://clinicaltrials.gov/study/{nct}"}, position)


def _meta(study: dict[str, Any], name: str) -> Any:
    """Return one piece of metadata: a value or None, or of a path with [] the list of its distinct values."""
    path, kind = _META[name]
    values = [value for value in _values(study, path, str if kind is datetime.date else kind) if value != ""]
    if kind is datetime.date and not all(map(_is_date, values)):
        raise RowError(f"field '{path}' is not a date like 2020-05-07, 2020-05 or 2020")
    if "[]" in path:
        return list(dict.fromkeys(values))
    return next(iter(values), None)


def _first(study: dict[str, Any], path: str) -> str:
    return next(iter(_values(study, path, str)), "")


def _values(value: Any, path: str, kind: type) -> list[Any]:
    """Collect what is at a path: nothing where a part of it is missing or null; strings stripped.

    :param path: Names joined by dots; name[] goes on with every item of a list.
    :param kind: What must be there.
    :raises RowError: If it, or something on the way, is of another type. Names the field.
    """
    found, seen = [value], ""
    for step in path.split("."):
        name = step.removesuffix("[]")
        found = [holder[name] for holder in found if holder.get(name) is not None]
        seen = f"{seen}.{name}" if seen else name
        if step != name:
            _check(found, seen, list)
            found = [item for items in found for item in items if item is not None]
            seen += "[]"
        _check(found, seen, kind if seen == path else dict)
    return [scrub(item).strip() if isinstance(item, str) else item for item in found]


def _check(values: list[Any], path: str, kind: type) -> None:
    for value in values:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            was = _KINDS.get(type(value), "a number")
            raise RowError(f"field '{path}' is {was}, not {_KINDS[kind]}")


def _is_date(text: str) -> bool:
    try:
        return bool(_DATE.fullmatch(text) and datetime.date.fromisoformat(f"{text}-01-01"[:10]))
    except ValueError:
        return False


def _raw(study: Any) -> str | None:
    try:
        text = json.dumps(study)
    except RecursionError:
        return None
    return text if len(text) <= _MAX_RAW_CHARACTERS else None


def _is_study(path: Path) -> bool:
    return _STUDY_FILE.fullmatch(path.name) is not None and path.is_file()


def _accepts(path: Path) -> bool:
    if path.is_dir():
        return any(map(_is_study, path.rglob("*")))
    return bool(_STUDY_FILE.fullmatch(path.name) or _SITE_FILE.fullmatch(path.name))


READER = Reader(
    name="clinicaltrials",
    description="ClinicalTrials.gov studies in JSON, as version 2 of its API gives them: one record per study",
    source="a .json, .jsonl or .ndjson file, plain, .gz or .zst, a folder of NCT*.json files or a .zip or .tar of them",
    read=read,
    accepts=_accepts,
    again=again,
)
