"""The tensors of a TorchScript archive are read without running its code."""

import io
import pickle
import zipfile

import pytest

from model_zoo.formats.torchscript import UnsafeArchive, state_dict_of


def archive(pickled: bytes, storages: dict[str, bytes] | None = None, byteorder: bytes | None = b"little") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("net/data.pkl", pickled)
        if byteorder is not None:
            made.writestr("net/byteorder", byteorder)
        made.writestr("net/code/__torch__.py", "this is not even Python")
        for key, content in (storages or {}).items():
            made.writestr(f"net/data/{key}", content)
    return buffer.getvalue()


def module(body: bytes) -> bytes:
    """A pickle of one scripted module whose attributes are the dict that ``body`` builds."""
    return b"\x80\x02c__torch__\nNet\n)\x81" + body + b"b."


def tensor(claimed: int, size: int) -> bytes:
    """Pickle operations that push a float tensor of one axis over storage 0."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK%ctQ"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage.replace(b"%c", bytes([claimed]))
    return rebuilt + b"K\x00K" + bytes([size]) + b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"


def weight(claimed: int, size: int) -> bytes:
    return module(b"}X\x06\x00\x00\x00weight" + tensor(claimed, size) + b"s")


def test_state_dict_has_tensors_by_dotted_name() -> None:
    found = state_dict_of(archive(weight(2, 2), {"0": b"\x00\x00\x80?\x00\x00\x00@"}))
    assert {name: value.tolist() for name, value in found.items()} == {"weight": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.", r"asks for os\.system"),
        (b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.", r"asks for builtins\.eval"),
        (b"\x80\x02ctorch\nload\nX\x01\x00\x00\x00x\x85R.", r"asks for torch\.load"),
        (pickle.dumps({"weight": 1}), "does not hold a module"),
        (b"\x80\x02", "not a TorchScript archive"),
    ],
)
def test_pickle_with_other_globals_is_rejected(pickled: bytes, message: str) -> None:
    with pytest.raises(UnsafeArchive, match=message):
        state_dict_of(archive(pickled))


@pytest.mark.parametrize(("claimed", "size"), [(200, 2), (2, 200)], ids=["storage", "tensor"])
def test_tensor_beyond_its_storage_is_rejected(claimed: int, size: int) -> None:
    with pytest.raises(UnsafeArchive, match=r"size it claims|out of bounds"):
        state_dict_of(archive(weight(claimed, size), {"0": b"\x00" * 8}))


def test_archive_from_before_torch_named_the_byte_order_is_read() -> None:
    named, unnamed = (state_dict_of(archive(weight(2, 2), {"0": bytes(8)}, order)) for order in (b"little", None))
    assert {name: value.tolist() for name, value in named.items()} == {n: v.tolist() for n, v in unnamed.items()} != {}


def test_file_that_is_not_an_archive_is_rejected() -> None:
    with pytest.raises(UnsafeArchive, match="not a TorchScript archive"):
        state_dict_of(b"no zip at all")
    with pytest.raises(UnsafeArchive, match="little-endian"):
        state_dict_of(archive(weight(2, 2), byteorder=b"big"))
