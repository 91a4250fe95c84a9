"""No archive can write outside of its folder, and one that could do harm is refused as a whole."""

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.upload.archives import extract, safe_path
from service.errors import InvalidInput
from tests.support.datasets.dataset_files import tarred, zipped

MIB = 1 << 20


def unpacked(tmp_path: Path, data: bytes, form: str, limits: DatasetLimits | None = None) -> dict[str, bytes]:
    """The content of the folder after extraction. Checks that nothing was written beside it."""
    archive, folder = tmp_path / "in", tmp_path / "out" / "folder"
    archive.write_bytes(data)
    folder.mkdir(parents=True)
    try:
        count = extract(archive, form, folder, limits or DatasetLimits())
    finally:
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]
        assert [p.name for p in (tmp_path / "out").iterdir()] == ["folder"]
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert count == len(files)
    return files


def refusal(tmp_path: Path, data: bytes, form: str, limits: DatasetLimits | None = None) -> str:
    with pytest.raises(InvalidInput) as caught:
        unpacked(tmp_path, data, form, limits)
    assert caught.value.field == "data"
    assert str(tmp_path) not in caught.value.message
    return caught.value.problem


FILES = {"a/1.txt": b"one", "b/2.txt": b"two", "c.txt": b""}


@pytest.mark.parametrize(
    ("form", "data"), [("zip", zipped(FILES)), ("tar", tarred(FILES, "w")), ("tar", tarred(FILES, "w:gz"))]
)
def test_archive_is_extracted(tmp_path: Path, form: str, data: bytes) -> None:
    assert unpacked(tmp_path, data, form) == FILES


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_files_added_by_operating_systems_are_ignored(tmp_path: Path, form: str) -> None:
    junk = {"__MACOSX/a/._1.txt": b"x", ".DS_Store": b"x", "a/.hidden": b"x", ".git/config": b"x"}
    data = zipped({**junk, **FILES}) if form == "zip" else tarred({**junk, **FILES})
    assert unpacked(tmp_path, data, form) == FILES


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "a/../../evil", "..", "C:/evil", "..\\evil", "a\\..\\..\\evil", "\\evil", "C:\\evil"],
)
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_path_that_leads_outside_is_refused(tmp_path: Path, form: str, name: str) -> None:
    files = {"ok.txt": b"x", name: b"evil"}
    assert "leads out" in refusal(tmp_path, zipped(files) if form == "zip" else tarred(files), form)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_tar_with_links_or_devices_is_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("a/link")
    member.type, member.linkname = kind, "/etc/passwd"
    assert "link or device" in refusal(tmp_path, tarred(FILES, extra=(member,)), "tar")


def test_zip_with_links_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = zipfile.ZipInfo("a/link")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    assert "link or device" in refusal(tmp_path, buffer.getvalue(), "zip")


def test_archive_that_writes_through_a_link_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("a")
    link.type, link.linkname = tarfile.SYMTYPE, ".."
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(link)
        member = tarfile.TarInfo("a/evil")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    assert "link" in refusal(tmp_path, buffer.getvalue(), "tar")


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_archive_with_a_bomb_ratio_is_refused(tmp_path: Path, form: str) -> None:
    files = {f"{i}.txt": bytes(20 * MIB) for i in range(2)}
    assert "bomb" in refusal(tmp_path, zipped(files) if form == "zip" else tarred(files), form)


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_archive_over_the_size_limit_is_refused(tmp_path: Path, form: str) -> None:
    files = {"a.txt": bytes(3 * MIB), "b.txt": bytes(3 * MIB)}
    data = zipped(files) if form == "zip" else tarred(files)
    assert "more than 5 MiB" in refusal(tmp_path, data, form, DatasetLimits(dataset_bytes=5 * MIB))


def test_zip_with_false_sizes_is_refused(tmp_path: Path) -> None:
    """The headers say 10 bytes; the actual bytes count."""
    data = bytearray(zipped({"a.txt": bytes(3 * MIB)}))
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        where = data.index(mark) + at
        data[where : where + 4] = struct.pack("<I", 10)
    assert "broken" in refusal(tmp_path, bytes(data), "zip")


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_archive_with_too_many_files_is_refused(tmp_path: Path, form: str) -> None:
    files = {f"a/{i}": b"" for i in range(6)}
    data = zipped(files) if form == "zip" else tarred(files)
    assert "more than 5 files" in refusal(tmp_path, data, form, DatasetLimits(files=5))


def test_archive_with_too_deep_folders_or_random_bytes_is_refused(tmp_path: Path) -> None:
    junk = {f"__MACOSX/{i}": b"" for i in range(30)}
    assert "more than 5 files" in refusal(tmp_path, zipped(junk), "zip", DatasetLimits(files=5))


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_archive_with_two_files_of_one_name_is_refused(tmp_path: Path, form: str) -> None:
    buffer = io.BytesIO()
    if form == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a", "1")
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr("a", "2")
    else:
        one = tarfile.TarInfo("a")
        buffer.write(tarred({"a": b"1"}, "w", (one,)))
    assert "'a' twice" in refusal(tmp_path, buffer.getvalue(), form)


def test_archive_with_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    assert "twice" in refusal(tmp_path, zipped({"a": b"", "a/b": b""}), "zip")


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.txt": b"secret"}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    assert "encrypted" in refusal(tmp_path, bytes(data), "zip")


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize("size", [0, 1, 10, 100, 200])
def test_truncated_archive_or_other_file_is_refused(tmp_path: Path, form: str, size: int) -> None:
    content = {"a.bin": bytes(range(256)) * 50}
    data = zipped(content) if form == "zip" else tarred(content)
    for i, part in enumerate((data[:size], b"x" * size)):
        folder = tmp_path / str(i)
        folder.mkdir()
        assert "broken or cut off" in refusal(folder, part, form)


@pytest.mark.parametrize("name", ["a\nb", "a/" * 40 + "b", "x" * 300, "a\x1bb"])
def test_names_that_no_file_can_have_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        safe_path(name)


def test_names_in_any_language_are_accepted() -> None:
    assert str(safe_path("Größe/猫 1.jpg")) == "Größe/猫 1.jpg"
