"""Regions of shared memory: what may be registered, and what happens to one whose object changes."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from service.errors import AlreadyExists, InvalidInput, QuotaExceeded, RegionNotFound, ZooError
from service.wire.open_inference import regions as module
from service.wire.open_inference.regions import Regions, RegionTooShort
from tests.support.wire.shared_objects import FOLDER, SharedObject

Make = Callable[..., SharedObject]

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the shared memory of Linux")


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[SharedObject] = []

    def one(size: int = 64, content: bytes = b"") -> SharedObject:
        made.append(SharedObject(size, content))
        return made[-1]

    yield one
    for found in made:
        found.remove()


@pytest.fixture
def regions() -> Regions:
    return Regions(1 << 20)


def refusal(regions: Regions, name: str, key: str, offset: int = 0, byte_size: int = 8) -> ZooError:
    with pytest.raises(ZooError) as raised:
        regions.register(name, key, offset, byte_size)
    assert SharedObject.WORD not in raised.value.message
    return raised.value


def open_files() -> int:
    """Descriptors of shared memory. Others may be closed at any time, when garbage of other tests is collected."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # it was that of the folder
            found += str(descriptor.readlink()).startswith("/dev/shm/")
    return found


@pytest.mark.parametrize("slash", ["/", ""])
def test_region_reads_and_writes_its_part_of_the_object(regions: Regions, make: Make, slash: str) -> None:
    found = make(16, b"0123456789abcdef")
    regions.register("part", slash + found.key[1:], 4, 8)
    region = regions.find("part")
    assert region is not None
    assert (region.read(0, 8), region.read(2, 3)) == (b"456789ab", b"678")
    region.write(1, b"XY")
    assert found.read() == b"01234XY789abcdef"
    assert list(regions.status("")) == ["part"]
    shown = regions.status("part")["part"]
    assert (shown.offset, shown.byte_size) == (4, 8)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        ".",
        "..",
        "/..",
        "../etc/passwd",
        "/../etc/passwd",
        "//hush",
        "/hush/more",
        "hush/",
        "hush\0",
        "h" * 256,
        "é" * 128,
    ],
)
def test_key_that_is_no_plain_name_is_rejected(regions: Regions, key: str) -> None:
    error = refusal(regions, "hush", key)
    assert isinstance(error, InvalidInput)
    assert error.message.startswith("key: expected the name of a shared memory object: 1 to 255 bytes")
    assert not regions.status("")


def test_absent_object_is_rejected(regions: Regions) -> None:
    assert refusal(regions, "r", "/hush-that-nobody-made").message.startswith("key: there is no shared memory object")


def test_link_folder_and_pipe_are_rejected(regions: Regions, make: Make, tmp_path: Path) -> None:
    found = make()
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    found.remove()
    found.path.symlink_to(secret)
    assert refusal(regions, "r", found.key).message.startswith("key: the server may not read and write")
    found.remove()
    os.mkfifo(found.path)
    assert refusal(regions, "r", found.key).message.startswith("key: expected a shared memory object, got something")
    found.remove()
    found.path.mkdir()
    try:
        assert refusal(regions, "r", found.key).message.startswith("key: the server may not read and write")
    finally:
        found.path.rmdir()


@pytest.mark.parametrize(
    ("offset", "byte_size", "message"),
    [
        (0, 65, "byte_size: expected offset and byte_size within the 64 bytes of the object, got 0 and 65"),
        (60, 5, "byte_size: expected offset and byte_size within the 64 bytes of the object, got 60 and 5"),
        (
            2**64 - 1,
            8,
            "byte_size: expected offset and byte_size within the 64 bytes of the object, got 18446744073709551615 and 8",
        ),
        (0, 0, "byte_size: expected 1 to 17179869184 bytes, got 0"),
        (0, 2**64 - 1, "byte_size: expected 1 to 17179869184 bytes, got 18446744073709551615"),
    ],
)
def test_region_beyond_its_object_is_rejected(
    regions: Regions, make: Make, offset: int, byte_size: int, message: str
) -> None:
    before = open_files()
    assert refusal(regions, "r", make(64).key, offset, byte_size).message == message
    assert open_files() == before


@pytest.mark.parametrize("name", ["", "n" * 257])
def test_name_of_a_wrong_length_is_rejected(regions: Regions, make: Make, name: str) -> None:
    assert refusal(regions, name, make().key).message == f"name: expected 1 to 256 characters, got {len(name)}"


def test_name_is_no_path(regions: Regions, make: Make) -> None:
    regions.register("../../etc/passwd", make().key, 0, 8)
    assert regions.find("../../etc/passwd") is not None


def test_second_registration_of_a_name_is_rejected_and_the_first_stays(regions: Regions, make: Make) -> None:
    first, second = make(8, b"first..."), make(8, b"second..")
    regions.register("hush", first.key, 0, 8)
    assert isinstance(refusal(regions, "hush", second.key), AlreadyExists)
    assert isinstance(refusal(regions, "hush", first.key), AlreadyExists)
    region = regions.find("hush")
    assert region is not None
    assert region.read(0, 8) == b"first..."
    regions.register("other", first.key, 0, 8)  # one object under two names


def test_region_above_the_limit_is_rejected_until_another_is_unregistered(
    regions: Regions, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_REGIONS", 2)
    key = make().key
    regions.register("a", key, 0, 8)
    regions.register("b", key, 0, 8)
    assert isinstance(refusal(regions, "c", key), QuotaExceeded)
    regions.unregister("a")
    regions.register("c", key, 0, 8)


def test_unregistered_regions_give_their_descriptors_back(regions: Regions, make: Make) -> None:
    before, key = open_files(), make().key
    for i in range(20):
        regions.register(str(i), key, 0, 8)
    assert open_files() == before + 20
    regions.unregister("7")
    assert open_files() == before + 19
    regions.unregister("never registered")
    regions.unregister("")
    assert open_files() == before
    with pytest.raises(RegionNotFound) as raised:
        regions.status("hush")
    assert SharedObject.WORD not in raised.value.message


def test_region_that_is_unregistered_in_use_serves_its_request_to_the_end(regions: Regions, make: Make) -> None:
    before, found = open_files(), make(8, b"in use..")
    regions.register("r", found.key, 0, 8)
    region = regions.find("r")
    assert region is not None
    regions.unregister("r")
    found.remove()
    assert region.read(0, 6) == b"in use"
    region.write(0, b"yes")
    del region
    assert open_files() == before


def test_object_that_is_unlinked_in_use_stays_readable(regions: Regions, make: Make) -> None:
    found = make(8, b"unlinked")
    regions.register("r", found.key, 0, 8)
    found.remove()
    region = regions.find("r")
    assert region is not None
    assert region.read(0, 8) == b"unlinked"


def test_object_that_became_shorter_is_an_error_and_stays_short(regions: Regions, make: Make) -> None:
    found = make(3 * 4096)
    regions.register("r", found.key, 0, 3 * 4096)
    found.shorten(4096)
    region = regions.find("r")
    assert region is not None
    assert region.read(0, 4096) == bytes(4096)
    for start, count in ((0, 4097), (4096, 1), (8192, 4096)):
        with pytest.raises(RegionTooShort):
            region.read(start, count)
        with pytest.raises(RegionTooShort):
            region.write(start, b"x" * count)
    assert found.path.stat().st_size == 4096
    found.shorten(0)
    with pytest.raises(RegionTooShort):
        region.read(0, 1)
