"""MedQuAD: question-answer XML as published, in folders, single files or archives. One record per answered question.

    <Document id="0000001" source="NIDDK" url="...">
      <Focus>Acromegaly</Focus>
      <QAPairs><QAPair pid="1"><Question qid="0000001-1" qtype="information">...</Question><Answer>...</Answer></QAPair>

Record ids are source, document and pair: `NIDDK:0000001-1`. Document ids repeat across sources, and ten CancerGov files
repeat their neighbour's (0000013_2_1.xml says 0000013_2): there the file's name, which extends the document's id,
stands for it. The text is the answer as the XML gives it, the title its focus. Questions without an answer (MedlinePlus
took its own back) are no records; how many there are is logged.

A file that is not well-formed, declares a DTD or entities, or is of another schema is one malformed row. Four published
NINDS files are drafts of another layout (lower-case elements under <doc>) and not among the 16,407 answered pairs that
MedQuAD is known for: they are left out with a warning.
"""

import logging
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from es_ingest.readers.folder import LeftOut, all_files, file_or_gone
from es_ingest.readers.mapping import FieldMapping
from es_ingest.readers.registry import Reader
from es_ingest.readers.streams import reason_of, watched
from es_ingest.records import Malformed, ReadError, Record

# The archive and XML packages are imported where they are used: they would double what importing the readers costs.
if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from es_ingest.readers.archive import Member

logger = logging.getLogger(__name__)

SUFFIX = ".xml"
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".zip")
MAX_FILE_BYTES = 64 * 2**20  # the largest published file has 0.2 MB
_ROOTS = ("Document", "DiseaseFile")  # one CDC file calls its root, and its id, differently
_DRAFT = "doc"


def read(source: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:  # noqa: ARG001
    """Stream one MedQuAD source.

    :param source: A folder (its .xml files at any depth, sorted), one .xml file, or an archive (in its own order).
    :param fields: Not used; MedQuAD's fields are fixed.
    :raises ReadError: If the source cannot be read or holds no .xml file.
    """
    files = unanswered = drafts = 0
    for item in _files(source):
        files += 1
        if isinstance(item, Malformed):
            yield item
            continue
        try:
            root = _parse(item.data)
        except ValueError as error:
            yield Malformed(item.position, str(error))
            continue
        drafts += root.tag == _DRAFT
        for record in _records(root, item):
            unanswered += record is None
            if record is not None:
                yield record
    if not files:
        raise ReadError(source, "holds no .xml file; a MedQuAD source is a folder or an archive of them")
    if drafts:
        logger.warning("%s: left out %d files of MedQuAD's draft layout <%s>", Path(source).name, drafts, _DRAFT)
    if unanswered:
        logger.info("%s: left out %d questions without an answer", source, unanswered)


def _files(source: str) -> Iterator["Member | Malformed"]:
    from es_ingest.readers.archive import members

    path = Path(source)
    if path.is_dir():
        files, unlisted = _folder(path)
        for file in files:
            try:
                yield from watched(str(file), _file(file))
            except ReadError as error:
                yield Malformed(error.path, error.reason, gap=True)
        yield from unlisted
    elif path.suffix.lower() == SUFFIX:
        yield from _file(path)
    else:
        yield from members(source, SUFFIX, MAX_FILE_BYTES)


def _file(file: Path) -> Iterator["Member | Malformed"]:
    """Read one file, when the first item is asked for."""
    from es_ingest.readers.archive import Member

    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ReadError(str(file), f"cannot be opened: {reason_of(error)}") from error
    if len(data) > MAX_FILE_BYTES:
        yield Malformed(str(file), f"larger than the limit of {MAX_FILE_BYTES} bytes")
    else:
        yield Member(str(file), file.stem, data)


def _folder(path: Path) -> tuple[list[Path], list[Malformed]]:
    """List a folder's .xml files at any depth, sorted, and the folders that cannot be listed.

    macOS leaves companions named ._x.xml that are none.
    """
    found, left_out = [], LeftOut()
    files, unlisted = all_files(path)
    for file in files:
        if file.suffix.lower() == SUFFIX and not file.name.startswith("._") and file_or_gone(file):
            found.append(file)
        elif not file.name.startswith(".") and file.is_file():
            left_out.add(str(file))
    left_out.log(str(path), ".xml files")
    return found, unlisted


def _parse(data: bytes) -> "Element":
    """Parse one file.

    :raises ValueError: If it is not MedQuAD XML, with the reason.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import DTDForbidden
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(data, forbid_dtd=True)
    except DTDForbidden:
        raise ValueError("declares a DTD, which is refused; take the declaration out") from None
    except DefusedXmlException as error:
        raise ValueError(f"refused: {type(error).__name__}") from None
    except ParseError as error:
        line, column = error.position
        raise ValueError(f"not well-formed XML at line {line}, column {column + 1}") from None
    except (ValueError, LookupError):
        raise ValueError("declares an encoding that cannot be read; save it as UTF-8") from None
    if root.tag not in (*_ROOTS, _DRAFT):
        hint = "; if it is PubMed's, give --format pubmed" if root.tag.startswith("Pubmed") else ""
        raise ValueError(f"not a MedQuAD document: its root element is <{root.tag[:40]}>, not <{_ROOTS[0]}>{hint}")
    return root


def _records(root: "Element", file: "Member") -> Iterator[Record | None]:
    """Give the document's pairs in order, None for each without an answer."""
    source = root.get("source") or "MedQuAD"
    document = root.get("id") or root.get("fid") or file.stem
    # Never the bare file name: a copy under another name must keep its ids.
    unique = file.stem if file.stem.startswith(f"{document}_") else document
    title = (root.findtext("Focus") or "").strip()
    shared = {
        "source": source,
        "url": (root.get("url") or "").strip(),
        "document_id": document,
        "category": (root.findtext(".//Category") or "").strip(),
        "semantic_group": (root.findtext(".//SemanticGroup") or "").strip(),
        "cuis": _values(root, "CUI"),
        "semantic_types": _values(root, "SemanticType"),
        "synonyms": _values(root, "Synonym"),
    }
    for number, pair in enumerate(root.iterfind("QAPairs/QAPair"), start=1):
        answer = pair.find("Answer")
        text = "" if answer is None else "".join(answer.itertext())
        if not text.strip():
            yield None
            continue
        pid = pair.get("pid") or str(number)
        question = pair.find("Question")
        asked = {} if question is None else question.attrib | {"question": "".join(question.itertext())}
        meta = {name: asked.get(name, "").strip() for name in ("question", "qtype", "qid")} | shared
        meta = {name: list(value) if isinstance(value, list) else value for name, value in meta.items() if value}
        yield Record(f"{source}:{unique}-{pid}", title, text, meta, f"{file.position}#{pid}")


def _values(root: "Element", tag: str) -> list[str]:
    """List the distinct non-blank texts of all elements of a tag, in order."""
    texts = ((element.text or "").strip() for element in root.iter(tag))
    return list(dict.fromkeys(filter(None, texts)))


def _accepts(path: Path) -> bool:
    if path.is_dir():
        return any(file.suffix.lower() == SUFFIX for file in path.rglob("*"))
    return PurePosixPath(path.name.lower()).suffix == SUFFIX or path.name.lower().endswith(ARCHIVES)


READER = Reader(
    name="medquad",
    description="MedQuAD question-answer XML as published: one record per answered question",
    source="a folder of .xml files, one .xml file, or a .tar, .tar.gz, .tgz, .tar.xz or .zip of them",
    read=read,
    accepts=_accepts,
    generic=True,
)
