"""Triton's stock client passes tensors in system shared memory, over a Unix socket."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.stock_clients.triton_calls import CAT, CNN, TOLERANCE, TRANSFORMER, Refusal, inputs, refused
from tests.support.end_to_end.server_process import ServerProcess

PIXELS = 3 * 224 * 224
KEY, NAME = "hush-key", "hush/../name"
"""Words that no error repeats."""
RESTLESS = """
import os, sys
path, size = sys.argv[1], int(sys.argv[2])
while True:
    os.truncate(path, 0)
    os.truncate(path, size)
"""
"""A program that shortens an object and makes it as long again, as fast as it can."""

pytestmark = pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs the shared memory of Linux")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server of its own: the extension is off unless a setting turns it on."""
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:  # pytest's own names are too long for a socket
        models = ["--model", CNN, "--model", TRANSFORMER]
        host = f"unix:{folder}/zoo.sock"
        with ServerProcess("--host", host, *models, cold=True, ZOO_SHARED_MEMORY="system") as process:
            yield process.ready()
        process.assert_log_is_clean()
        assert KEY not in process.output
        assert NAME not in process.output


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.target) as made:
        yield made


@pytest.fixture
def regions(client: triton.InferenceServerClient) -> Iterator[Regions]:
    made = Regions(client)
    yield made
    made.close()


class Regions:
    """Objects that this process makes, and registers with the server."""

    def __init__(self, client: triton.InferenceServerClient) -> None:
        self._client = client
        self._handles: list[shm.SharedMemoryRegion] = []

    def make(self, name: str, size: int) -> tuple[shm.SharedMemoryRegion, str]:
        """The object's handle and its key. Not registered."""
        key = f"{KEY}-{uuid.uuid4().hex}"
        self._handles.append(shm.create_shared_memory_region(name, key, size, create_only=True))
        return self._handles[-1], key

    def register(self, name: str, size: int) -> tuple[shm.SharedMemoryRegion, str]:
        handle, key = self.make(name, size)
        self._client.register_system_shared_memory(name, key, size)
        return handle, key

    def close(self) -> None:
        self._client.unregister_system_shared_memory()
        assert not self._client.get_system_shared_memory_status().regions
        for handle in self._handles:
            shm.destroy_shared_memory_region(handle)


def placed(name: str, array: np.ndarray, region: str, offset: int = 0) -> triton.InferInput:
    one = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    one.set_shared_memory(region, array.nbytes, offset)
    return one


def refuse(client: triton.InferenceServerClient, taken: Sequence[triton.InferInput], **options: object) -> Refusal:
    """How the CNN refuses; the code is checked, and that no name is repeated."""
    refusal = refused(lambda: client.infer(CNN, list(taken), **options))
    assert refusal.code == "INVALID_ARGUMENT"
    assert "hush" not in refusal.message
    return refusal


def images(count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 224, 224, 3), np.uint8)


def test_extension_is_advertised(client: triton.InferenceServerClient) -> None:
    assert "system_shared_memory" in client.get_server_metadata().extensions


@pytest.mark.parametrize("rows", [1, 12], ids=["on the event loop", "in a thread"])
def test_tensors_in_shared_memory_have_the_same_answers(
    client: triton.InferenceServerClient, regions: Regions, rows: int
) -> None:
    pixels = images(rows)
    expected = client.infer(CNN, inputs(pixels=pixels)).as_numpy("logits")
    size = max(pixels.nbytes, expected.nbytes)
    handle, _ = regions.register(NAME, 64 + size)
    out, _ = regions.register("out", expected.nbytes)
    shm.set_shared_memory_region(handle, [pixels], offset=64)
    ask = triton.InferRequestedOutput("logits")
    ask.set_shared_memory("out", expected.nbytes)
    for _ in range(2):
        output = client.infer(CNN, [placed("pixels", pixels, NAME, 64)], outputs=[ask]).get_output("logits")
        assert (output.datatype, list(output.shape)) == ("FP32", [rows, 1000])
        found = shm.get_contents_as_numpy(out, np.float32, output.shape)
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[CNN])
        shm.set_shared_memory_region(out, [np.zeros_like(expected)])


def test_photo_and_text_in_shared_memory_are_answered(client: triton.InferenceServerClient, regions: Regions) -> None:
    element = len(CAT).to_bytes(4, "little") + CAT
    handle, _ = regions.register("photo", len(element))
    shm.set_shared_memory_region(handle, [np.frombuffer(element, np.uint8)])
    one = triton.InferInput("image", [1, 1], "BYTES")
    one.set_shared_memory("photo", len(element))
    logits = client.infer(CNN, [one]).as_numpy("logits")
    np.testing.assert_allclose(
        logits, client.infer(CNN, inputs(image=[CAT])).as_numpy("logits"), rtol=0, atol=TOLERANCE[CNN]
    )


def test_inputs_in_both_places_belong_together(client: triton.InferenceServerClient, regions: Regions) -> None:
    ids = np.array([[101, 2023, 102]], np.int64)
    handle, _ = regions.register("mask", ids.nbytes)
    shm.set_shared_memory_region(handle, [np.ones_like(ids)])
    (sent,) = inputs(input_ids=ids)
    for taken in ([sent, placed("attention_mask", ids, "mask")], [placed("attention_mask", ids, "mask"), sent]):
        vector = client.infer(TRANSFORMER, taken).as_numpy("embedding")
        expected = client.infer(TRANSFORMER, inputs(input_ids=ids, attention_mask=np.ones_like(ids)))
        np.testing.assert_allclose(vector, expected.as_numpy("embedding"), rtol=0, atol=TOLERANCE[TRANSFORMER])


def test_region_smaller_than_its_tensor_is_rejected(client: triton.InferenceServerClient, regions: Regions) -> None:
    pixels = images(1)
    regions.register(NAME, PIXELS - 1)
    refusal = refuse(client, [placed("pixels", pixels, NAME)])
    assert refusal.message == (
        "inputs[0].parameters[shared_memory_byte_size]: expected offset and byte_size within the 150527 bytes of the region, "
        "got 0 and 150528"
    )
    one = triton.InferInput("pixels", [1, 224, 224, 3], "UINT8")
    one.set_shared_memory(NAME, PIXELS - 1)
    assert refuse(client, [one]).message.endswith("expected 150528 bytes for UINT8 [1, 224, 224, 3], got 150527")
    ask = triton.InferRequestedOutput("logits")
    ask.set_shared_memory(NAME, 3999)
    assert refuse(client, inputs(pixels=pixels), outputs=[ask]).message == (
        "outputs[0].parameters[shared_memory_byte_size]: expected at least 4000 bytes for the output, got 3999"
    )


def test_object_that_shrinks_while_it_is_read_does_not_end_the_server(
    client: triton.InferenceServerClient, regions: Regions, server: ServerProcess
) -> None:
    pixels = images(1)
    handle, key = regions.register(NAME, PIXELS)
    shm.set_shared_memory_region(handle, [pixels])
    path = Path("/dev/shm") / key
    expected = client.infer(CNN, [placed("pixels", pixels, NAME)]).as_numpy("logits")
    os.truncate(path, 4096)
    refusal = refuse(client, [placed("pixels", pixels, NAME)])
    assert refusal.message.startswith(
        "inputs[0].parameters[shared_memory_region]: expected 150528 bytes at offset 0, but"
    )
    messages: list[str] = []
    with subprocess.Popen([sys.executable, "-c", RESTLESS, path, str(PIXELS)]) as restless:
        for _ in range(100):
            try:
                client.infer(CNN, [placed("pixels", pixels, NAME)])
            except InferenceServerException as error:
                messages.append(error.message())
        restless.kill()
    assert all("shorter than it was registered" in message for message in messages)
    os.truncate(path, PIXELS)
    shm.set_shared_memory_region(handle, [pixels])
    again = client.infer(CNN, [placed("pixels", pixels, NAME)]).as_numpy("logits")
    np.testing.assert_allclose(again, expected, rtol=0, atol=TOLERANCE[CNN])
    path.unlink()
    path.touch()  # its owner unlinks it once more; a file of the same name is another object
    again = client.infer(CNN, [placed("pixels", pixels, NAME)]).as_numpy("logits")
    np.testing.assert_allclose(again, expected, rtol=0, atol=TOLERANCE[CNN])
    assert client.is_server_ready()


def test_wrong_registration_is_rejected_without_a_name(client: triton.InferenceServerClient, regions: Regions) -> None:
    _, key = regions.register(NAME, 64)

    def refusal(name: str, key: str, size: int = 64, offset: int = 0) -> Refusal:
        found = refused(lambda: client.register_system_shared_memory(name, key, size, offset))
        assert "hush" not in found.message
        return found

    assert refusal(NAME, key).code == "ALREADY_EXISTS"
    for wrong in ("../hush", "hush/../../etc/passwd", "..", "", "hush-absent"):
        found = refusal("hush", wrong)
        assert (found.code, found.message.partition(":")[0]) == ("INVALID_ARGUMENT", "key")
    assert refusal("hush", key, size=65).code == "INVALID_ARGUMENT"
    assert refusal("hush", key, offset=1).code == "INVALID_ARGUMENT"
    assert refused(lambda: client.get_system_shared_memory_status("hush")).code == "NOT_FOUND"
    shown = client.get_system_shared_memory_status().regions
    assert {name: (region.key, region.byte_size) for name, region in shown.items()} == {NAME: (key, 64)}
    client.unregister_system_shared_memory(NAME)
    assert refuse(client, [placed("pixels", images(1), NAME)]).message == (
        "inputs[0].parameters[shared_memory_region]: no region of this name is registered"
    )


def test_outputs_on_a_stream_go_to_shared_memory(client: triton.InferenceServerClient, regions: Regions) -> None:
    pixels = images(3)
    expected = client.infer(CNN, inputs(pixels=pixels)).as_numpy("logits")
    handle, _ = regions.register(NAME, pixels.nbytes)
    out, _ = regions.register("out", expected.nbytes)
    shm.set_shared_memory_region(handle, [pixels])
    came: queue.Queue[tuple[object, object]] = queue.Queue()
    client.start_stream(lambda result, error: came.put((result, error)))
    for i in range(3):
        ask = triton.InferRequestedOutput("logits")
        ask.set_shared_memory("out", 4000, 4000 * i)
        client.async_stream_infer(CNN, [placed("pixels", pixels[i : i + 1], NAME, PIXELS * i)], outputs=[ask])
    for _ in range(3):
        _, error = came.get(timeout=60)
        assert error is None
    client.stop_stream()
    found = shm.get_contents_as_numpy(out, np.float32, [3, 1000])
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[CNN])
