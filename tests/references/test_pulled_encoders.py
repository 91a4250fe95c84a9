"""A pulled encoder of images gives the pooled output of the pipeline of transformers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from PIL import Image

from model_zoo.errors import ConversionFailed, NotDerivable
from model_zoo.references.card_plan import Given
from model_zoo.references.derive import derive
from service.references.verification_inputs import PHOTOS
from service.types import Embedding
from service.verification.golden_check import golden_problem
from service.verification.probes import invariance_problem, probe_items
from tests.support.references.fake_repository import FakeRepository
from tests.support.references.pulled import RunningModel, photo, pulled_here
from tests.support.references.tiny_vision import ENCODERS, vit_encoder


@pytest.fixture(scope="module", params=ENCODERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunningModel:
    root = tmp_path_factory.mktemp(request.param)
    return pulled_here(ENCODERS[request.param], root / request.param, root / "home")


@pytest.mark.parametrize("name", PHOTOS)
def test_embedding_is_the_pooled_output_of_the_pipeline(model: RunningModel, name: str) -> None:
    pipeline: Any = transformers.pipeline
    pipe = pipeline("image-feature-extraction", model=str(model.folder), device="cpu")
    expected = np.array(pipe(Image.open(io.BytesIO(photo(name))), pool=True)).ravel()
    answer = model.answer(photo(name))
    assert isinstance(answer, Embedding)
    assert answer.values.shape == expected.shape == model.pulled.card.signature.outputs[0].shape[1:]
    np.testing.assert_allclose(
        answer.values / np.linalg.norm(answer.values), expected / np.linalg.norm(expected), atol=0.02
    )


def test_rows_of_a_batch_equal_single_rows(model: RunningModel) -> None:
    items = probe_items(model.task)
    alone = [model.alone(item) for item in items]
    assert invariance_problem(model.task, model.runtime, alone, items) is None
    assert golden_problem(model.task, model.runtime) is None


def test_repository_without_the_pooler_of_its_network_is_refused_by_its_tensors(tmp_path: Path) -> None:
    def without_pooler(folder: Path) -> Path:
        from safetensors.torch import load_file, save_file

        path = vit_encoder(folder) / "model.safetensors"
        tensors = {name: tensor for name, tensor in load_file(path).items() if "pooler" not in name}
        save_file(tensors, path, metadata={"format": "pt"})
        return folder

    with pytest.raises(ConversionFailed, match=r"pooler\.dense\.bias is missing"):
        pulled_here(without_pooler, tmp_path / "bare", tmp_path / "home")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "bert", "architectures": ["BertModel"]}, "for texts with modules.json"),
        ({"model_type": "vit", "architectures": ["ViTModel"], "image_size": 32}, "cannot run the network on images"),
        ({"model_type": "vit_mae", "architectures": ["ViTMAEModel"]}, "does not pool"),
    ],
)
def test_network_without_an_embedding_of_the_image_is_refused(config: dict[str, Any], words: str) -> None:
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    processor = {"size": 224, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    contents = {
        "config.json": {**size, **config},
        "model.safetensors": b"weights",
        "preprocessor_config.json": processor,
    }
    with pytest.raises(NotDerivable) as raised:
        derive(FakeRepository(contents), Given())
    assert words in str(raised.value)
