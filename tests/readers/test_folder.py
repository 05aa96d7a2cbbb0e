import gzip
import os
from pathlib import Path

import pytest

from es_ingest.readers import FORMATS, folder
from es_ingest.readers.folder import READER, read
from es_ingest.readers.streams import zstd
from es_ingest.records import Malformed, ReadError, Record


def write(root: Path, files: dict[str, str | bytes]) -> str:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return str(root)


def test_a_folder_is_read_sorted_and_exactly(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "b.txt": "\ufeff \r\nMénière \n",
        "cardiology/2180/Echo report.TXT": "EF 55%",
        "cardiology/a.md": "Preface\n\n# Aortic stenosis #\n\n# Second\n",
        "cardiology/stent.v2.txt.gz": gzip.compress(b"packed"),
        "a.md.zst": zstd.compress(b"no heading"),
        ".hidden.txt": "hidden",
        ".git/notes.txt": "hidden",
        "image.png": b"\x89PNG",
        "README": "no suffix",
    }
    root = write(tmp_path, files)
    cardiology, deep = {"folder": "cardiology"}, {"folder": "cardiology/2180"}
    echo = "cardiology/2180/Echo report.TXT"
    assert list(read(root)) == [
        Record("a.md.zst", "a", "no heading", {"path": "a.md.zst"}, f"{root}/a.md.zst"),
        Record("b.txt", "b", " \r\nMénière \n", {"path": "b.txt"}, f"{root}/b.txt"),
        Record(
            "cardiology/a.md",
            "Aortic stenosis",
            "Preface\n\n# Aortic stenosis #\n\n# Second\n",
            {"path": "cardiology/a.md"} | cardiology,
            f"{root}/cardiology/a.md",
        ),
        Record(
            "cardiology/stent.v2.txt.gz",
            "stent.v2",
            "packed",
            {"path": "cardiology/stent.v2.txt.gz"} | cardiology,
            f"{root}/cardiology/stent.v2.txt.gz",
        ),
        Record(echo, "Echo report", "EF 55%", {"path": echo} | deep, f"{root}/{echo}"),
    ]


@pytest.mark.parametrize("name", ["note.txt", "note.txt.gz", "note", ".note.txt"])
def test_a_single_file_has_its_name_for_id(tmp_path: Path, name: str) -> None:
    path = Path(write(tmp_path, {name: gzip.compress(b"text") if name.endswith("gz") else "text"}), name)
    title = name if name.startswith(".") else "note"
    assert list(read(str(path))) == [Record(name, title.removesuffix(".txt"), "text", {"path": name}, str(path))]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# One\n# Two", "One"),
        ("## Sub\r\n#\tMain\r\n", "Main"),
        ("   # Indented", "Indented"),
        ("    # code\n# Text", "Text"),
        ("```sh\n# comment\n```\n# After", "After"),
        ("~~~\n```\n# comment\n~~~\n# After", "After"),
        ("# C#", "C#"),
        ("# Vitamin C ##", "Vitamin C"),
        ("#hashtag\n#\n# #\nno heading", "file"),
    ],
)
def test_the_title_of_a_markdown_file(tmp_path: Path, text: str, title: str) -> None:
    root = write(tmp_path, {"file.md": text, "plain.txt": text})
    assert [(item.title, item.text) for item in read(root) if isinstance(item, Record)] == [
        (title, text),
        ("plain", text),
    ]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("1.txt", b"Confidential \xff", "not UTF-8 at byte 14 of the file"),
        ("1.txt", b"\xef\xbb\xbfConfidential \xff", "not UTF-8 at byte 17 of the file"),
        ("1.txt", "Confidential".encode("utf-16"), "is UTF-16; convert it to UTF-8: iconv -f UTF-16 -t UTF-8"),
        ("1.txt", "Confidential".encode("utf-16-le"), "holds a NUL character; is the file UTF-16 or binary?"),
        ("1.txt", b"", "empty text"),
        ("1.md", b"\xef\xbb\xbf \n", "empty text"),
        ("1.txt", b"x" * 101, "larger than the limit of 100 bytes"),
        ("1.txt.gz", gzip.compress(b"x" * 101), "larger than the limit of 100 bytes"),
        ("1.txt.gz", gzip.compress(b"Confidential")[:-9], "cannot be read: Compressed file ended"),
        ("1.txt.zst", zstd.compress(b"Confidential")[:-3], "cannot be read: Compressed file ended"),
        ("1.txt.gz", b"Confidential", "is named .gz and is not gzip; rename it or pack it again"),
    ],
)
def test_a_bad_file_is_named_without_its_text_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, reason: str
) -> None:
    monkeypatch.setattr(folder, "MAX_LINE_BYTES", 100)
    root = write(tmp_path, {name: content, "2.txt": "x" * 100})
    bad, good = read(root)
    assert isinstance(bad, Malformed)
    assert bad.position == f"{root}/{name}"
    assert bad.reason.startswith(reason)
    assert isinstance(good, Record)


def test_links_and_pipes_do_not_hang(tmp_path: Path) -> None:
    root = write(tmp_path / "root", {"sub/a.txt": "a"})
    write(tmp_path, {"outside/b.txt": "b", "outside/deep/c.txt": "c"})
    (tmp_path / "root/sub/loop").symlink_to(tmp_path / "root", target_is_directory=True)
    (tmp_path / "root/self.txt").symlink_to("self.txt")
    (tmp_path / "root/gone.txt").symlink_to("nowhere")
    (tmp_path / "root/folder.txt").symlink_to(tmp_path / "outside", target_is_directory=True)
    (tmp_path / "root/to_b.txt").symlink_to(tmp_path / "outside/b.txt")
    os.mkfifo(tmp_path / "root/pipe.txt")
    found = list(read(root))
    assert found[:2] == [
        Malformed(f"{root}/gone.txt", "cannot be opened: No such file or directory"),
        Malformed(f"{root}/self.txt", "cannot be opened: Too many levels of symbolic links"),
    ]
    assert [item.id for item in found[2:] if isinstance(item, Record)] == ["to_b.txt", "sub/a.txt"]
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    assert len(list(read(str(tmp_path / "link")))) == len(found)


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path, {"a.txt": "a", "sub/b.txt": "b"})
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    record, bad = read(root)
    assert isinstance(record, Record)
    assert bad == Malformed(f"{root}/sub", "cannot be listed: Permission denied")


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"M\xe9ni\xe8re.txt")).write_text("x")
    (record,) = read(str(tmp_path))
    assert record == Record(
        "M\ufffdni\ufffdre.txt",
        "M\ufffdni\ufffdre",
        "x",
        {"path": "M\ufffdni\ufffdre.txt"},
        f"{tmp_path}/M\ufffdni\ufffdre.txt",
    )


def test_sources_that_hold_no_text(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"holds no \.txt or \.md file"):
        list(read(str(tmp_path)))
    with pytest.raises(ReadError, match="cannot be opened: No such file"):
        list(read(str(tmp_path / "gone.txt")))


@pytest.mark.parametrize(
    ("files", "accepted"),
    [
        (["a.txt"], True),
        (["deep/down/a.md.gz", "b.png"], True),
        (["a.txt", ".git/b.xml"], True),
        ([".a.txt"], False),
        (["b.png"], False),
        (["README.md", "deep/b.xml"], False),
        (["README.md", "corpus.jsonl.gz"], False),
        (["README.md", "notes.csv"], False),
        ([], False),
    ],
)
def test_folders_are_told_by_what_they_hold(tmp_path: Path, files: list[str], accepted: bool) -> None:
    write(tmp_path, dict.fromkeys(files, b""))
    assert READER.accepts(tmp_path) is accepted


@pytest.mark.parametrize(
    ("name", "accepted"),
    [("a.txt", True), ("A.MD.zst", True), ("a.txt.gz", True), ("a.text", False), (".a.txt", False), ("a.gz", False)],
)
def test_files_are_told_by_name(tmp_path: Path, name: str, accepted: bool) -> None:
    (tmp_path / name).touch()
    assert READER.accepts(tmp_path / name) is accepted


def test_memory_stays_flat_over_many_files(tmp_path: Path, traced) -> None:
    root = write(tmp_path, {f"{n % 10}/{n}.txt": "word " * 20_000 for n in range(200)})
    count, peak = traced(lambda: read(root))
    assert count == 200
    assert peak < 2**20 < 200 * 100_000 / 15


@pytest.mark.parametrize(
    ("format_name", "good", "content", "wanted"),
    [
        ("text", "a.txt", "x", ".txt or .md files"),
        ("fhir", "a.ndjson", '{"resourceType": "Patient"}', ".ndjson files"),
        ("medquad", "a.xml", "<Document/>", ".xml files"),
        ("clinicaltrials", "NCT01234567.json", "{}", "files like NCT01234567.json"),
    ],
)
def test_every_reader_of_folders_tells_how_many_files_it_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, format_name: str, good: str, content: str, wanted: str
) -> None:
    caplog.set_level("INFO")
    root = write(tmp_path, {good: content, "deep/NCT3.json": "{}", "z.dat": "", ".hidden": "", "._a.xml": ""})
    list(FORMATS[format_name].read(root, None))
    notes = [text for text in caplog.messages if "files" in text]
    (note,) = notes
    assert note.startswith(f"{root}: left out 2 files that are no {wanted}, such as ")
    assert note.endswith((" deep/NCT3.json", " z.dat"))
    caplog.clear()
    for name in ("deep/NCT3.json", "z.dat"):
        (tmp_path / name).unlink()
    list(FORMATS[format_name].read(root, None))
    assert not [text for text in caplog.messages if "files" in text]
