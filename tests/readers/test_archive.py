import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from es_ingest.readers.archive import Member, members
from es_ingest.records import Malformed, ReadError

FILES = {"b/2.xml": b"<b/>", "a/1.XML": b"<a/>", "a/._1.xml": b"mac", "readme.txt": b"text", "a/3.xml": b"<c/>"}


def tar_bytes(files: dict[str, bytes] = FILES) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        folder = tarfile.TarInfo("folder.xml")
        folder.type = tarfile.DIRTYPE
        link = tarfile.TarInfo("link.xml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(folder)
        tar.addfile(link)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_bytes(files: dict[str, bytes] = FILES) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder.xml/", b"")
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tar", tar_bytes()),
        ("a.tar.gz", gzip.compress(tar_bytes())),
        ("a.tar.xz", lzma.compress(tar_bytes())),
        ("a.zip", zip_bytes()),
        ("misnamed.tar", zip_bytes()),
    ],
)
def test_members_come_in_the_archives_order(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert list(members(str(path), ".xml", 100)) == [
        Member(f"{path}!b/2.xml", "2", b"<b/>"),
        Member(f"{path}!a/1.XML", "1", b"<a/>"),
        Member(f"{path}!a/3.xml", "3", b"<c/>"),
    ]


@pytest.mark.parametrize("pack", [tar_bytes, zip_bytes])
def test_a_member_over_the_limit_is_not_read(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "a"
    path.write_bytes(pack({"big.xml": bytes(101), "small.xml": b"<a/>"}))
    bad, good = members(str(path), ".xml", 100)
    assert bad == Malformed(f"{path}!big.xml", "larger than the limit of 100 bytes")
    assert isinstance(good, Member)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_an_archive_that_breaks_off_gives_what_is_there(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "a.tar"
    noise = bytes(n * n * 7919 % 251 for n in range(100_000))
    packed = pack(tar_bytes({f"{n}.xml": noise[n * 100 : n * 100 + 20_000] for n in range(50)}))
    path.write_bytes(packed[: len(packed) * 2 // 3])
    *good, last = members(str(path), ".xml", 10**6)
    assert all(isinstance(member, Member) for member in good)
    assert isinstance(last, Malformed)
    assert "the rest of the archive is lost after" in last.reason


def test_a_damaged_zip_member_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    content = bytearray(zip_bytes({"a.xml": b"<a/>" * 100, "b.xml": b"<b/>"}))
    content[content.index(b"a.xml") + 8] ^= 0xFF
    path.write_bytes(content)
    bad, good = members(str(path), ".xml", 1000)
    assert isinstance(bad, Malformed)
    assert bad.position == f"{path}!a.xml"
    assert good == Member(f"{path}!b.xml", "b", b"<b/>")


@pytest.mark.parametrize(
    "content", [b"", b"no archive", gzip.compress(b"no archive"), b"\x1f\x8b", b"PK\x03\x04 no zip"]
)
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(ReadError, match="archive, or damaged"):
        list(members(str(tmp_path / "a.tar.gz"), ".xml", 100))
