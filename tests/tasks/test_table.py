"""Tuned versions of the bases: a user's own labels and numbers for photos, texts and sounds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from model_zoo.cards.tuned_parts import TargetScale
from service.errors import InvalidInput
from service.tasks.classification import LabelAnswers
from service.tasks.composed import ComposedTask, SequenceTask
from service.tasks.image.image_input import ImageInput
from service.tasks.text.character_input import CharacterInput
from service.types import (
    AudioInstance,
    Classification,
    ImageInstance,
    Instance,
    Item,
    Regression,
    SamplesInstance,
    TextInstance,
)
from tests.support.tasks.pictures import encoded, photo
from tests.support.tasks.sounds import speech
from tests.support.tasks.tuned_heads import Tuned, tuned

pytestmark = pytest.mark.weights

SUMS = [f"What is {a} plus {b}? It is {a + b}." for a in (2, 13, 40, 7) for b in (5, 11, 30)]
CURSES = [f"{word}!!! STOP IT NOW, {name}!!!" for word in ("NO", "HEY", "WHY", "OUT") for name in ("YOU", "TOM", "ANN")]


def texts(many: list[str]) -> list[Instance]:
    return [TextInstance(text.encode()) for text in many]


@pytest.fixture
def make(served: Callable[[str], Any], zoo_home: Path, tmp_path: Path) -> Callable[..., Tuned]:
    def make(
        base: str, task: str, width: int, labels: tuple[str, ...] = (), target: TargetScale | None = None
    ) -> Tuned:
        real = served(base)
        card = tuned(real.card, task, len(labels) or 1, width, target)
        return Tuned(real, card, labels, zoo_home, tmp_path / "version")

    return make


@pytest.mark.parametrize(("base", "width"), [("all_minilm_l6_v2", 384), ("char_lstm", 712)])
def test_tuned_text_model_gives_the_users_labels(make: Callable[..., Tuned], base: str, width: int) -> None:
    model = make(base, "text-classification", width, ("sum", "curse"))
    train = texts(SUMS[:8] + CURSES[:8])
    model.learn(model.features(train), [[1, 0]] * 8 + [[0, 1]] * 8)
    answers = model.ask(*texts(SUMS[8:] + CURSES[8:]), top_k=1)
    found = [answer.labels[0].name for answer in answers if isinstance(answer, Classification)]
    assert found == ["sum"] * 4 + ["curse"] * 4
    (both,) = model.ask(*texts(SUMS[:1]))
    assert isinstance(both, Classification)
    assert sum(label.score for label in both.labels) == pytest.approx(1)


def test_text_read_by_characters_is_read_from_its_beginning(make: Callable[..., Tuned]) -> None:
    task = make("char_lstm", "text-classification", 712, ("a", "b")).task
    assert isinstance(task, SequenceTask)
    assert isinstance(task.inputs, CharacterInput)
    assert isinstance(task.answers, LabelAnswers)
    whole, cut, bad, none = task.preprocess(
        texts(["Some words.", "x" * 5000, "", "\U0001fbf9"]), [f"instances[{i}]" for i in range(4)]
    )
    assert isinstance(whole, Item)
    assert task.inputs.alphabet.decode(whole.tensors["input_ids"].tolist()) == "Some words."
    assert isinstance(cut, Item)
    assert (cut.length, cut.notes) == (1000, {"truncated": True, "characters": 5000})
    assert isinstance(bad, InvalidInput)
    assert bad.message == "instances[2]: is empty; expected a text"
    assert isinstance(none, InvalidInput)
    assert none.message == "instances[3]: has no character that the model knows"


def test_tuned_audio_model_gives_the_users_labels(make: Callable[..., Tuned], examples: Path) -> None:
    model = make("speaker_lstm", "audio-classification", 256, ("voice", "hiss"))
    samples = speech(examples)
    rng = np.random.default_rng(0)
    voices = [SamplesInstance(samples[i : i + 20_000], 16_000) for i in range(4000, 30_000, 2600)]
    hisses = [SamplesInstance(rng.standard_normal(20_000).astype(np.float32) * 0.1, 16_000) for _ in voices]
    half = len(voices) // 2
    model.learn(model.features([*voices[:half], *hisses[:half]]), [[1, 0]] * half + [[0, 1]] * half)
    answers = model.ask(*voices[half:], *hisses[half:], AudioInstance((examples / "speech.flac").read_bytes()))
    found = [answer.labels[0].name for answer in answers if isinstance(answer, Classification)]
    rest = len(voices) - half
    assert found == ["voice"] * rest + ["hiss"] * rest + ["voice"]


@pytest.mark.parametrize(("base", "width"), [("mobilenetv2_100", 1280), ("efficientnet_lite0", 1280)])
def test_tuned_image_model_gives_numbers_in_the_users_units(
    make: Callable[..., Tuned], examples: Path, base: str, width: int
) -> None:
    target = TargetScale(mean=100.0, std=50.0, lower=-20.0, upper=25.0)
    model = make(base, "regression", width, target=target)
    cat, coffee = (photo(examples, name) for name in ("cat.jpg", "coffee.jpg"))
    shades = np.linspace(0, 1, 9)
    mixed = [ImageInstance(encoded(Image.blend(cat.resize(coffee.size), coffee, float(s)), "PNG")) for s in shades]
    model.learn(model.features([*mixed[::2]]), [[4 * s - 2] for s in shades[::2]])
    answers = model.ask(*mixed[1::2])
    for answer, share in zip(answers, shades[1::2], strict=True):
        assert isinstance(answer, Regression)
        assert answer.value == pytest.approx(100 + 50 * (4 * share - 2), abs=40)
        assert answer.lower == pytest.approx(answer.value - 20)
        assert answer.upper == pytest.approx(answer.value + 25)


@pytest.mark.parametrize(
    ("base", "width", "instance"),
    [
        ("all_minilm_l6_v2", 384, TextInstance(b"a house by the sea")),
        ("char_lstm", 712, TextInstance(b"a house by the sea")),
        ("speaker_lstm", 256, SamplesInstance(np.ones(8000, np.float32) * 0.1, 16_000)),
    ],
)
def test_tuned_text_and_audio_models_give_numbers(
    make: Callable[..., Tuned], base: str, width: int, instance: Instance
) -> None:
    model = make(base, "regression", width)
    features = model.features([instance])
    assert features.shape == (1, width)
    model.learn(np.concatenate([features, features + 1]), [[3.5], [0.0]])
    (answer,) = model.ask(instance)
    assert isinstance(answer, Regression)
    assert (answer.lower, answer.upper) == (None, None)
    assert 2.0 < answer.value < 3.6


def test_images_are_decoded_alike_for_training_and_serving(served: Callable[[str], Any], examples: Path) -> None:
    """Augmentation starts from the image that serving crops."""
    task = served("mobilenetv2_100").task
    assert isinstance(task, ComposedTask)
    assert isinstance(task.inputs, ImageInput)
    data = (examples / "cat.jpg").read_bytes()
    (item,) = task.preprocess([ImageInstance(data)], ["p"])
    assert isinstance(item, Item)
    np.testing.assert_array_equal(item.tensors["pixel_values"], task.inputs.reader.pixels(data, "p"))
    assert task.inputs.reader.decode(data, "p").image.mode == "RGB"


def test_image_vectors_distinguish_cats_from_cups(served: Callable[[str], Any], examples: Path) -> None:
    real = served("mobilenetv2_100")
    cat = photo(examples)
    pictures = [
        (examples / "cat.jpg").read_bytes(),
        encoded(cat.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "PNG"),
        (examples / "coffee.jpg").read_bytes(),
    ]
    items = real.task.preprocess([ImageInstance(p) for p in pictures], ["p"] * 3)
    rows = real.task.split(real.runtime.run(real.task.collate(items)[0]), items)
    a, b, c = (row["embedding"] / np.linalg.norm(row["embedding"]) for row in rows)
    assert float(a @ b) > 0.9 > 0.6 > float(a @ c)


def test_stretching_recipe_keeps_both_ends_of_a_wide_image(served: Callable[[str], Any]) -> None:
    wide = np.zeros((100, 1000, 3), np.uint8)
    wide[:, :100], wide[:, -100:] = 255, 255
    task = served("mobilenetv2_100").task
    (item,) = task.preprocess([ImageInstance(encoded(Image.fromarray(wide), "PNG"))], ["p"])
    row = item.tensors["pixel_values"][0, 100]
    assert row[5] > 2 and row[-5] > 2 and row[112] < -2  # noqa: PT018
