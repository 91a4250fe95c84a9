"""What a caller can get wrong through `zoo.v1`: a status, the field, a sentence, and nothing of our insides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_zoo.golden.golden_case import golden_path
from service.pb import prediction_pb2 as pb
from tests.support.end_to_end import samples as made
from tests.support.end_to_end.server_process import TIMEOUT_S
from tests.support.end_to_end.stubs import (
    CNN,
    RNN,
    TRANSFORMER,
    CallError,
    Stubs,
    ask,
    assert_leaks_nothing,
    expect_error,
    read_status,
    read_tensors,
    samples,
    tensors,
)

PIXELS = np.zeros((3, 224, 224), np.float32)
IDS = np.array([101, 2023, 102], np.int64)
CAT = {"image": golden_path("cat.jpg").read_bytes()}


def tensor(name: str, datatype: str, shape: list[int], data: bytes) -> dict[str, Any]:
    return {
        "tensors": pb.TensorMap(tensors={name: pb.Tensor(datatype=datatype, shape=shape, data=data)}),
    }


# ── which model, which version ────────────────────────────────────────────────────────────────────────────────────


def test_unknown_model_is_not_found_with_similar_names(stubs: Stubs) -> None:
    refusal = expect_error(lambda: stubs.predict(ask("efficientnet_lite", CAT)))
    assert refusal.code == "NOT_FOUND"
    assert (
        refusal.message
        == "unknown model 'efficientnet_lite'; did you mean 'efficientnet_lite0' or 'efficientnet_lite2'?"
    )
    assert refusal.resource == "model efficientnet_lite"


def test_dissimilar_model_name_is_not_found_with_all_names(stubs: Stubs) -> None:
    refusal = expect_error(lambda: stubs.predict(ask("q" * 5000, CAT)))
    assert refusal.code == "NOT_FOUND"
    assert CNN in refusal.message
    assert len(refusal.message) < 500


@pytest.mark.parametrize("version", ["2", "canary", "-1", "1.0", "99999999999999999999999"])
def test_unknown_version_is_not_found_with_known_versions(stubs: Stubs, version: str) -> None:
    request = ask(CNN, CAT)
    request.version = version
    refusal = expect_error(lambda: stubs.predict(request))
    assert refusal.code == "NOT_FOUND"
    assert (
        refusal.message == f"unknown version '{version}'; model 'efficientnet_lite0' has version 1, which is 'stable'"
    )
    assert refusal.resource == f"version {version}"


@pytest.mark.parametrize("version", ["", "1", "stable"])
def test_version_is_accepted_as_number_alias_or_empty(stubs: Stubs, version: str) -> None:
    request = ask(TRANSFORMER, {"text": "hello"})
    request.version = version
    assert stubs.predict(request).version == 1


# ── the request and its instances ─────────────────────────────────────────────────────────────────────────────────

AIFF, EMPTY_WAV = made.aiff(), made.wav(np.zeros(0, np.float32))

WRONG: dict[str, tuple[Any, str, str]] = {
    "no model": (ask("", CAT), "model", "is required"),
    "no instances": (ask(CNN), "instances", "expected at least one, got none"),
    "an instance of nothing": (ask(CNN, {}), "instances[0]", "expected one of image, text, audio, samples, tensors"),
    "a text for the photo model": (ask(CNN, {"text": "a cat"}), "instances[0]", "expected image or tensors"),
    "a photo for the text model": (ask(TRANSFORMER, CAT), "instances[0]", "expected text or tensors"),
    "a photo for the sound model": (ask(RNN, CAT), "instances[0]", "expected audio or tensors"),
    "not an image": (ask(CNN, {"image": b"hello"}), "instances[0]", "JPEG, PNG or WebP image, got something else"),
    "an empty image": (ask(CNN, {"image": b""}), "instances[0]", "is empty"),
    "a truncated JPEG": (ask(CNN, {"image": made.truncated_jpeg()}), "instances[0]", "truncated or damaged"),
    "a decompression bomb": (ask(CNN, {"image": made.bomb()}), "instances[0]", "pixels, got 60,000 × 60,000"),
    "an empty text": (ask(TRANSFORMER, {"text": ""}), "instances[0]", "is empty; expected a text"),
    "a text of spaces": (ask(TRANSFORMER, {"text": " \n\t "}), "instances[0]", "is empty; expected a text"),
    "a sound of no samples": (ask(RNN, {"audio": EMPTY_WAV}), "instances[0]", "has no samples"),
    "an empty sound": (ask(RNN, {"audio": b""}), "instances[0]", "is empty; expected a WAV, FLAC or OGG file"),
    "a sound of another format": (ask(RNN, {"audio": AIFF}), "instances[0]", "WAV, FLAC or OGG file, got AIFF"),
    "not a sound": (ask(RNN, {"audio": b"RIFF...."}), "instances[0]", "something else or a damaged one"),
    "samples without a rate": (
        ask(RNN, samples(np.zeros(512), rate=0)),
        "instances[0].sample_rate_hertz",
        "expected 1 to 192,000, got 0",
    ),
    "no samples at all": (ask(RNN, samples(np.zeros(0))), "instances[0]", "has no samples"),
    "an unknown input": (ask(CNN, tensors(picture=PIXELS)), "instances[0].picture", "takes pixel_values"),
    "a missing input": (ask(TRANSFORMER, tensors(input_ids=IDS)), "instances[0]", "input attention_mask is missing"),
    "tensors without a tensor": (ask(CNN, {"tensors": pb.TensorMap()}), "instances[0]", "pixel_values is missing"),
    "a wrong dtype": (
        ask(CNN, tensors(pixel_values=PIXELS.astype(np.float64))),
        "instances[0].pixel_values",
        "expected FP32, got float64",
    ),
    "an unknown dtype": (
        ask(CNN, tensor("pixel_values", "FP31", [1], b"0000")),
        "instances[0].tensors.pixel_values.datatype",
        "got 'FP31'",
    ),
    "a wrong rank": (
        ask(CNN, tensors(pixel_values=PIXELS[None])),
        "instances[0].pixel_values",
        "expected shape [3, 224, 224] a row, got [1, 3, 224, 224]",
    ),
    "a wrong dimension": (
        ask(CNN, tensors(pixel_values=PIXELS[:, :, :223])),
        "instances[0].pixel_values",
        "got [3, 224, 223]",
    ),
    "a wrong element count": (
        ask(CNN, tensor("pixel_values", "FP32", [3, 224, 224], bytes(100))),
        "instances[0].tensors.pixel_values.data",
        "expected 602112 bytes for FP32[3, 224, 224], got 100",
    ),
    "a negative dimension": (
        ask(CNN, tensor("pixel_values", "FP32", [-1, -224, 224], bytes(100))),
        "instances[0].tensors.pixel_values.shape",
        "expected sizes of 0 and more",
    ),
    "a token outside the vocabulary": (
        ask(TRANSFORMER, tensors(input_ids=np.array([30522]), attention_mask=np.array([1]))),
        "instances[0].input_ids",
        "expected token ids in 0..30521, got 30522",
    ),
    "tensors of unlike lengths": (
        ask(TRANSFORMER, tensors(input_ids=IDS, attention_mask=np.ones(2, np.int64))),
        "instances[0].attention_mask",
        "expected 3 elements as input_ids has, got 2",
    ),
    "a row that is too long": (
        ask(TRANSFORMER, tensors(input_ids=np.ones(257, np.int64), attention_mask=np.ones(257, np.int64))),
        "instances[0].input_ids",
        "expected at most 256 elements, got 257",
    ),
    "a row of nothing": (
        ask(TRANSFORMER, tensors(input_ids=IDS[:0], attention_mask=IDS[:0])),
        "instances[0].input_ids",
        "is empty",
    ),
    "a negative top_k": (ask(CNN, CAT, top_k=-1), "options.top_k", "expected at least 1, got -1"),
    "a threshold above 1": (ask(CNN, CAT, threshold=1.5), "options.threshold", "expected 0..1, got 1.5"),
    "a threshold that is no number": (ask(CNN, CAT, threshold=float("nan")), "options.threshold", "expected 0..1"),
    "an option of another task": (
        ask(TRANSFORMER, {"text": "hello"}, top_k=3),
        "options.top_k",
        "has no meaning for the task feature-extraction",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_invalid_request_is_rejected_with_its_field(stubs: Stubs, what: str) -> None:
    request, field, text = WRONG[what]
    refusal = expect_error(lambda: stubs.predict(request))
    assert (refusal.code, refusal.field, refusal.reason) == ("INVALID_ARGUMENT", field, "INVALID_INPUT")
    assert text in refusal.message
    assert refusal.message.startswith(f"{field}: ")


def test_long_request_id_is_rejected(stubs: Stubs) -> None:
    request = ask(TRANSFORMER, {"text": "hello"})
    request.request_id = "i" * 257
    refusal = expect_error(lambda: stubs.predict(request))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "request_id")


def test_text_that_is_not_utf8_is_rejected(stubs: Stubs) -> None:
    # The stubs cannot write such a message, so it is written by hand: a good one, with a byte replaced.
    good = ask(TRANSFORMER, {"text": "caf~ au lait"}).SerializeToString()
    call = stubs.channel.unary_unary("/zoo.v1.Prediction/Predict")
    refusal = expect_error(lambda: call(good.replace(b"~", b"\xff"), timeout=TIMEOUT_S))
    assert refusal.code == "INVALID_ARGUMENT"
    assert "UTF-8" in refusal.message


@pytest.mark.parametrize("junk", [b"\xff\xff\xff", b"\x0a\x7fshort"])
@pytest.mark.parametrize(
    "method", ["zoo.v1.Prediction/Predict", "zoo.v1.Models/GetModel", "inference.GRPCInferenceService/ModelInfer"]
)
def test_bytes_that_are_not_a_message_are_rejected(stubs: Stubs, method: str, junk: bytes) -> None:
    refusal = expect_error(lambda: stubs.channel.unary_unary(f"/{method}")(junk, timeout=TIMEOUT_S))
    assert refusal.code == "INVALID_ARGUMENT"


def test_bytes_that_are_not_a_message_end_a_stream_as_invalid(stubs: Stubs) -> None:
    call = stubs.channel.stream_stream("/zoo.v1.Prediction/StreamPredict")
    refusal = expect_error(lambda: list(call(iter([b"\xff\xff\xff"]), timeout=TIMEOUT_S)))
    assert refusal.code == "INVALID_ARGUMENT"


def test_too_many_instances_are_rejected_before_any_is_decoded(stubs: Stubs) -> None:
    # A few bytes each: a message within the limit could hold millions, and every one becomes objects and errors.
    message = ask(TRANSFORMER).SerializeToString() + b"\x22\x02\x12\x00" * 70_000
    call = stubs.channel.unary_unary("/zoo.v1.Prediction/Predict")
    refusal = expect_error(lambda: call(message, timeout=TIMEOUT_S))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "instances")
    assert "got 70000" in refusal.message


def test_message_above_the_limit_is_rejected(stubs: Stubs) -> None:
    request = ask(CNN, {"image": bytes(65 * 1024 * 1024)})
    refusal = expect_error(lambda: stubs.predict(request))
    assert refusal.code == "RESOURCE_EXHAUSTED"
    assert "larger than max" in refusal.message
    assert stubs.predict(ask(TRANSFORMER, {"text": "still here"})).version == 1


# ── the bad among the good ────────────────────────────────────────────────────────────────────────────────────────


def test_bad_instance_fails_alone(stubs: Stubs) -> None:
    reply = stubs.predict(ask(CNN, CAT, {"image": b"junk"}, {"text": "cat"}, tensors(pixel_values=PIXELS[:1]), CAT))
    kinds = [prediction.WhichOneof("result") for prediction in reply.predictions]
    assert kinds == ["classification", "error", "error", "error", "classification"]
    refusals = [read_status(reply.predictions[i].error) for i in (1, 2, 3)]
    assert [refusal.code for refusal in refusals] == ["INVALID_ARGUMENT"] * 3
    assert [refusal.field for refusal in refusals] == ["instances[1]", "instances[2]", "instances[3].pixel_values"]
    for refusal in refusals:
        assert_leaks_nothing(refusal.message)
    assert reply.predictions[0] == reply.predictions[4]


def test_bad_request_on_a_stream_fails_alone(stubs: Stubs) -> None:
    requests = {
        "good": ask(TRANSFORMER, {"text": "one"}),
        "unknown": ask("no_such_model", {"text": "two"}),
        "empty": ask(TRANSFORMER, {"text": ""}),
        "good again": ask(TRANSFORMER, {"text": "three"}),
    }
    for name, request in requests.items():
        request.request_id = name
    messages = [pb.StreamPredictRequest(request=request) for request in requests.values()]
    replies = {r.request_id: r for r in stubs.prediction.StreamPredict(iter(messages), timeout=TIMEOUT_S)}
    assert replies.keys() == requests.keys()
    assert replies["good"].response.predictions[0].embedding.values
    assert replies["good again"].response.predictions[0].embedding.values
    assert read_status(replies["unknown"].error).code == "NOT_FOUND"
    empty: CallError = read_status(replies["empty"].error)
    assert (empty.code, empty.field) == ("INVALID_ARGUMENT", "instances[0]")


# ── odd, and good all the same ────────────────────────────────────────────────────────────────────────────────────


def labels(stubs: Stubs, image: bytes) -> dict[str, float]:
    [prediction] = stubs.predict(ask(CNN, {"image": image}, top_k=10)).predictions
    return {label.name: label.score for label in prediction.classification.labels}


def logits(stubs: Stubs, image: bytes) -> np.ndarray:
    [prediction] = stubs.predict(ask(CNN, {"image": image}, include_tensors=True)).predictions
    return read_tensors(prediction.outputs)["logits"]


def cat_likeness(found: dict[str, float]) -> float:
    return sum(score for name, score in found.items() if name in ("tabby, tabby cat", "tiger cat", "Egyptian cat"))


@pytest.mark.parametrize(
    "odd",
    [made.cat_as_cmyk, made.cat_as_16_bit, made.cat_as_palette, made.cat_lying, made.cat_as_webp, made.cat_as_mpo],
)
def test_unusual_image_encoding_of_a_cat_is_classified_as_cat(stubs: Stubs, odd: Any) -> None:
    assert cat_likeness(labels(stubs, odd())) > 0.5


def test_exif_orientation_of_a_photo_is_applied(stubs: Stubs) -> None:
    upright, told, untold = (
        logits(stubs, image) for image in (CAT["image"], made.cat_lying(), made.cat_lying_untold())
    )
    assert 3 * np.abs(told - upright).max() < np.abs(untold - upright).max()


def test_long_text_is_truncated_with_a_note(stubs: Stubs) -> None:
    text = "the cat sat on the mat " * 4348  # 100,004 characters
    long, short = stubs.predict(ask(TRANSFORMER, {"text": text}, {"text": "the cat sat"})).predictions
    assert dict(long.notes) == {"truncated": True, "tokens": 256, "characters": len(text)}
    assert len(long.embedding.values) == 384
    assert not short.notes.fields
    [cut] = stubs.predict(ask(TRANSFORMER, {"text": text[:5000]})).predictions
    np.testing.assert_allclose(long.embedding.values, cut.embedding.values, atol=1e-5)


@pytest.mark.parametrize("text", ["\0", "🐱", "中文", "a\u0301", "\ufffd", "x" * 2000])
def test_any_utf8_text_has_an_embedding(stubs: Stubs, text: str) -> None:
    [prediction] = stubs.predict(ask(TRANSFORMER, {"text": text})).predictions
    assert np.linalg.norm(prediction.embedding.values) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_tensor_does_not_affect_its_batch(stubs: Stubs, value: float) -> None:
    odd, whole = np.full_like(PIXELS, value), ask(CNN, tensors(pixel_values=PIXELS))
    [alone] = stubs.predict(whole).predictions
    strange, neighbour = stubs.predict(ask(CNN, tensors(pixel_values=odd), tensors(pixel_values=PIXELS))).predictions
    assert strange.WhichOneof("result") == "tensors"
    assert list(strange.tensors.tensors["logits"].shape) == [1000]
    np.testing.assert_allclose(
        np.frombuffer(neighbour.tensors.tensors["logits"].data, np.float32),
        np.frombuffer(alone.tensors.tensors["logits"].data, np.float32),
        atol=1e-3,
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_sound_does_not_affect_its_batch(stubs: Stubs, value: float) -> None:
    good = made.noise_samples(0.5)
    [alone] = stubs.predict(ask(RNN, samples(good))).predictions
    _, neighbour = stubs.predict(ask(RNN, samples(np.full(8000, value)), samples(good))).predictions
    np.testing.assert_allclose(neighbour.segments.frame_probabilities, alone.segments.frame_probabilities, atol=1e-5)


def test_texts_beyond_a_batch_are_answered_in_order(stubs: Stubs) -> None:
    texts = [f"sentence number {i} " + "and more of it " * (i % 7) for i in range(100)]
    many = stubs.predict(ask(TRANSFORMER, *({"text": text} for text in texts))).predictions
    assert len(many) == 100
    for i in (0, 31, 32, 50, 99):
        [one] = stubs.predict(ask(TRANSFORMER, {"text": texts[i]})).predictions
        np.testing.assert_allclose(many[i].embedding.values, one.embedding.values, atol=1e-5)


def test_speech_of_any_sample_rate_is_found_alike(stubs: Stubs) -> None:
    [speech] = stubs.predict(ask(RNN, {"audio": golden_path("speech.flac").read_bytes()})).predictions
    import soundfile
    import soxr

    values, rate = soundfile.read(golden_path("speech.flac"), dtype="float32")
    other = made.wav(soxr.resample(values, rate, 44_100), 44_100)
    [resampled] = stubs.predict(ask(RNN, {"audio": other})).predictions
    assert len(resampled.segments.segments) == len(speech.segments.segments) == 1
    was, now = speech.segments.segments[0], resampled.segments.segments[0]
    assert now.start.ToMilliseconds() == pytest.approx(was.start.ToMilliseconds(), abs=100)
    assert now.end.ToMilliseconds() == pytest.approx(was.end.ToMilliseconds(), abs=100)
