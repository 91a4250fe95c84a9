"""A network of pictures with rows on a real server: both protocols, tensors, wrong parts, the command, golden cases."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from google.protobuf.struct_pb2 import Struct

from model_zoo import strict_json
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import golden_path
from service.pb import models_pb2
from service.pb import prediction_pb2 as pb
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess, run_zoo
from tests.support.end_to_end.stubs import Stubs, ask, expect_error, infer, outputs, tensors

NAME = "fashion_price"
CASE = Catalog.from_package().get(NAME).golden[0]
PICTURE = golden_path(CASE.input.file or "").read_bytes()
ROW = CASE.input.row or {}
PIXELS, COLUMNS = np.zeros((3, 28, 28), np.float32), np.zeros(7, np.float32)


@pytest.fixture(scope="module", autouse=True)
def loaded(stubs: Stubs) -> Iterator[None]:
    stubs.models.LoadModel(models_pb2.LoadModelRequest(name=NAME), timeout=TIMEOUT_S)
    yield
    stubs.models.UnloadModel(models_pb2.UnloadModelRequest(name=NAME), timeout=TIMEOUT_S)


def record(**parts: Any) -> dict[str, Any]:
    """An instance of an image (bytes), a row (cells) or other parts (messages)."""
    made: dict[str, pb.Instance] = {}
    for name, part in parts.items():
        if isinstance(part, dict):
            row = Struct()
            row.update(part)
            made[name] = pb.Instance(row=row)
        else:
            made[name] = pb.Instance(image=part) if isinstance(part, bytes) else part
    return {"record": pb.Record(parts=made)}


def test_both_protocols_give_the_price_of_picture_and_row(stubs: Stubs) -> None:
    worn = {**ROW, "condition": "worn", "brand": "plain"}
    reply = stubs.predict(ask(NAME, record(image=PICTURE, row=ROW), record(image=PICTURE, row=worn)))
    first, second = (one.regression for one in reply.predictions)
    assert first.value == pytest.approx(CASE.expect.number, abs=CASE.expect.tolerance)  # type: ignore[union-attr]
    assert first.lower < first.value < first.upper
    assert second.value != pytest.approx(first.value, rel=0.1)
    document = strict_json.text({"image": base64.b64encode(PICTURE).decode(), "row": ROW}).encode()
    raw = outputs(stubs.infer(infer(NAME, record=[document, document])))["value"]
    np.testing.assert_allclose(raw, [[first.value]] * 2, rtol=1e-4)


def test_row_alone_gets_the_answer_that_it_gets_in_a_batch(stubs: Stubs) -> None:
    pixels = np.random.default_rng(0).standard_normal((5, 3, 28, 28)).astype(np.float32)
    columns = np.random.default_rng(1).standard_normal((5, 7)).astype(np.float32)
    together = outputs(stubs.infer(infer(NAME, pixel_values=pixels, columns=columns)))["value"]
    alone = outputs(stubs.infer(infer(NAME, pixel_values=pixels[3:4], columns=columns[3:4])))["value"]
    np.testing.assert_allclose(together[3:4], alone, rtol=1e-4, atol=0.05)


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "a picture alone": ({"image": PICTURE}, "instances[0]", "expected record or tensors"),
    "no picture": (record(row=ROW), "instances[0].image", "expected an encoded image, got none"),
    "no row": (record(image=PICTURE), "instances[0].row", "expected a row of a table, got none"),
    "nothing": (record(), "instances[0].image", "got none"),
    "an undecodable picture": (record(image=b"GIF89a", row=ROW), "instances[0].image", "JPEG, PNG or WebP"),
    "half a picture": (record(image=PICTURE[:200], row=ROW), "instances[0].image", "truncated or damaged"),
    "an unknown column": (
        record(image=PICTURE, row={**ROW, "colour": "red"}),
        "instances[0].row.colour",
        "it takes 'age_years', 'brand', 'condition'",
    ),
    "a text for a number": (
        record(image=PICTURE, row={"age_years": "old"}),
        "instances[0].row.age_years",
        "takes a number, got 'old'",
    ),
    "a part too many": (
        record(image=PICTURE, row=ROW, text=pb.Instance(text="x")),
        "instances[0].text",
        "nothing else",
    ),
    "tensors of the picture alone": (tensors(pixel_values=PIXELS), "instances[0]", "input columns is missing"),
    "a row of another width": (
        tensors(pixel_values=PIXELS, columns=COLUMNS[:6]),
        "instances[0].columns",
        "expected shape [7] a row, got [6]",
    ),
}


def test_wrong_part_is_named_and_leaves_its_neighbours_alone(stubs: Stubs) -> None:
    for what, (instance, field, says) in WRONG.items():
        refusal = expect_error(lambda instance=instance: stubs.predict(ask(NAME, instance)))  # type: ignore[misc]
        assert (what, refusal.code, refusal.field) == (what, "INVALID_ARGUMENT", field)
        assert says in refusal.message, what
    given = [
        record(image=PICTURE, row=ROW),
        *(instance for instance, _, _ in WRONG.values()),
        record(image=PICTURE, row=ROW),
    ]
    kinds = [one.WhichOneof("result") for one in stubs.predict(ask(NAME, *given)).predictions]
    assert kinds == ["regression", *["error"] * len(WRONG), "regression"]


def test_command_predicts_a_record_and_verifies_the_model(server: ServerProcess) -> None:
    given = strict_json.text({"image": str(golden_path(CASE.input.file or "")), "row": ROW})
    ended = run_zoo("predict", NAME, given, "--json", "--server", server.target)
    assert ended.returncode == 0, ended.stderr
    assert '"value"' in ended.stdout
    ended = run_zoo("verify", NAME, "--server", server.target)
    assert ended.returncode == 0, ended.stdout + ended.stderr
