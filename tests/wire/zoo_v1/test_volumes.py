"""Volumes over gRPC: each file that holds none fails alone, and says why."""

from __future__ import annotations

import asyncio
import gzip
import struct
from typing import Any

import nibabel
import numpy as np

from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import golden_path
from service.errors import ZooError
from service.pb import prediction_pb2 as pb
from service.tasks.volume.image_segmentation_3d import ImageSegmentation3d
from service.types import InferReply, InferRequest, Instance, Options, Prediction, Timing
from tests.support.wire.calls import request, wired

TASK = ImageSegmentation3d(Catalog.from_package().get("deepbet"))
HEAD = golden_path("head.nii.gz").read_bytes()
PLAIN = gzip.decompress(HEAD)
INVALID_ARGUMENT = 3


def answered(asked: InferRequest) -> InferReply:
    """What the task reads, and what it says of a brain that fills its box."""
    read: list[Instance] = [one for one in asked.instances if not isinstance(one, ZooError)]
    outcomes = TASK.preprocess(read, [asked.path(i) for i in range(len(read))])
    predictions: list[Prediction | ZooError] = []
    for item in outcomes:
        if isinstance(item, ZooError):
            predictions.append(item)
            continue
        outputs = {
            "probabilities": np.ones(item.tensors["volume"].shape[1:], np.float32),
            "box": np.array([4, 36, 5, 45, 6, 40]),
        }
        predictions.append(Prediction({}, TASK.postprocess(outputs, item, Options()), item.notes))
    return InferReply(asked.model, 1, asked.request_id, predictions, Timing())


def made(voxels: Any) -> bytes:
    image: Any = nibabel.Nifti1Image(voxels, np.eye(4))  # type: ignore[no-untyped-call]
    return bytes(image.to_bytes())


def test_file_that_holds_no_volume_fails_alone() -> None:
    bad = {
        "is empty": b"",
        "expected a NIfTI-1 file": b"no volume",
        "three dimensions": made(np.zeros((20, 20, 20, 2), np.int16)),
        "not finite": PLAIN[:280] + struct.pack("<f", float("nan")) + PLAIN[284:],
        "is cut off": PLAIN[:2000],
        "gzip stream is damaged": HEAD[:500],
        "40,000,000 voxels": gzip.compress(
            PLAIN[:40] + struct.pack("<4h", 3, 999, 999, 999) + PLAIN[48:] + bytes(1 << 22)
        ),
        "every voxel is 0": made(np.full((20, 20, 20), np.nan, np.float32)),
        "got RGB": made(np.zeros((20, 20, 20), [("R", "u1"), ("G", "u1"), ("B", "u1")])),
    }
    instances = [pb.Instance(volume=data) for data in [*bad.values(), HEAD]] + [pb.Instance(text="a head")]

    async def ask() -> Any:
        async with wired(answered) as server:
            return await server.prediction.Predict(request("deepbet", instances=instances))

    *errors, found, text = asyncio.run(ask()).predictions
    for i, (says, one) in enumerate(zip(bad, errors, strict=True)):
        assert one.error.code == INVALID_ARGUMENT
        assert f"instances[{i}]" in one.error.message
        assert says in one.error.message
    assert "got text" in text.error.message
    [region] = found.volume.regions
    assert (list(region.start), list(region.end)) == ([4, 5, 6], [36, 45, 40])
    assert found.volume.mask.startswith(b"\x1f\x8b")
