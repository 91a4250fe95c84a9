from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.client import (
    AsyncClient,
    BadInput,
    Classification,
    Client,
    Embedding,
    PredictionError,
    Retry,
    SamplesInstance,
    Segments,
    Tensors,
)


def test_a_path_is_sent_as_what_the_model_takes(zoo: Any, client: Client, tmp_path: Path) -> None:
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(b"a cat")
    [answer] = client.predict("efficientnet_lite0", photo, top_k=1)
    assert isinstance(answer, Classification)
    assert [(label.index, label.name) for label in answer.labels] == [(0, "a cat")]
    assert answer.version == 1
    [sound] = client.predict("silero_vad", [photo])
    assert isinstance(sound, Segments)
    [segment] = sound.segments
    assert (segment.start_s, segment.end_s, segment.score, sound.duration_s) == (0.5, 2.0, 0.75, 3.0)
    assert sound.probabilities.dtype == np.float32
    assert sound.probabilities.tolist() == [0.25, 0.75]


def test_a_str_is_a_text_and_its_notes_come_back(client: Client) -> None:
    short, long = client.predict("all_minilm_l6_v2", ["a cat", "a text that is much too long"])
    assert isinstance(short, Embedding)
    assert short.values.tolist() == [1.0, 0.0]
    assert short.notes == {"truncated": False, "tokens": 5}
    assert isinstance(long, Embedding)
    assert long.notes["truncated"] is True


def test_bytes_for_a_text_model_are_utf8(zoo: Any, client: Client) -> None:
    client.predict("all_minilm_l6_v2", "grün".encode())
    assert zoo.calls["Predict"][-1].instances[0].text == "grün"
    with pytest.raises(BadInput, match="UTF-8 at byte 1"):
        client.predict("all_minilm_l6_v2", b"a\xff")


@pytest.mark.parametrize("dtype", ["?", "i1", "<i2", ">i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", ">f8"])
def test_tensors_arrive_as_they_were(client: Client, dtype: str) -> None:
    array = np.arange(6).astype(dtype).reshape(2, 3)
    [answer] = client.predict("efficientnet_lite0", [{"x": array.T}])
    assert isinstance(answer, Tensors)
    np.testing.assert_array_equal(answer.tensors["x"], array.T)


def test_a_bare_array_is_the_only_tensor_of_a_model(client: Client) -> None:
    [answer] = client.predict("efficientnet_lite0", np.zeros(4, np.float32))
    assert isinstance(answer, Tensors)
    assert list(answer.tensors) == ["pixel_values"]
    with pytest.raises(BadInput, match="'input_ids', 'attention_mask'"):
        client.predict("all_minilm_l6_v2", np.zeros(4, np.float32))


def test_decoded_sound_keeps_its_rate(zoo: Any, client: Client) -> None:
    [answer] = client.predict("silero_vad", SamplesInstance(np.array([0.0, 0.5], np.float32), 8000))
    assert isinstance(answer, Segments)
    samples = zoo.calls["Predict"][-1].instances[0].samples
    assert (samples.sample_rate_hertz, list(samples.values)) == (8000, [0.0, 0.5])


def test_what_cannot_be_sent_is_told_before_any_call(zoo: Any, client: Client, tmp_path: Path) -> None:
    for wrong, words in [
        (tmp_path / "none.jpg", "no such file"),
        ("\ud800", "surrogates"),
        ({"x": np.array(["text"])}, "dtype"),
        (3.5, "of type float"),
    ]:
        with pytest.raises(BadInput, match=words):
            client.predict("efficientnet_lite0", wrong)  # type: ignore[arg-type]
    assert not zoo.calls["Predict"]


def test_one_bad_instance_stands_as_an_error_among_answers(client: Client) -> None:
    cat, bad, dog = client.predict("efficientnet_lite0", [b"a cat", b"bad", b"a dog"])
    assert isinstance(cat, Classification)
    assert isinstance(dog, Classification)
    assert dog.labels[0].name == "a dog"
    assert isinstance(bad, PredictionError)
    assert (bad.code, bad.reason, bad.field, bad.index) == (
        "INVALID_ARGUMENT",
        "INVALID_INPUT",
        "instances[1].image",
        1,
    )
    assert str(bad) == "this is no image"


def test_options_travel_and_unset_ones_stay_unset(zoo: Any, client: Client) -> None:
    client.predict("efficientnet_lite0", b"x")
    client.predict(
        "efficientnet_lite0", b"x", version="canary", top_k=3, threshold=0.25, include_tensors=True, priority=2
    )
    unset, given = zoo.calls["Predict"]
    assert not unset.options.HasField("top_k")
    assert not unset.options.HasField("threshold")
    assert (given.version, given.options.top_k, given.options.threshold) == ("canary", 3, 0.25)
    assert given.options.include_tensors
    assert (unset.options.priority, given.options.priority) == (0, 2)


def test_messages_larger_than_grpcs_four_megabytes_pass_both_ways(client: Client) -> None:
    large = np.zeros(1_000_000, np.float64)
    [answer] = client.predict("efficientnet_lite0", {"x": large})
    assert isinstance(answer, Tensors)
    assert answer.tensors["x"].shape == large.shape


def test_timing_tells_where_the_time_went(client: Client) -> None:
    [answer] = client.predict("efficientnet_lite0", b"x")
    assert isinstance(answer, Classification)
    assert (answer.timing.preprocess_s, answer.timing.execute_s) == (0.002, 0.0305)
    assert (answer.timing.batch_rows, answer.timing.device) == (7, "cpu")


def test_which_input_a_model_takes_is_asked_once(zoo: Any, client: Client) -> None:
    client.predict("efficientnet_lite0", [b"x", b"y"])
    client.predict("efficientnet_lite0", b"z")
    assert len(zoo.calls["GetModel"]) == 1


@pytest.mark.asyncio
async def test_the_async_client_gives_the_same(zoo: Any, retry: Retry, tmp_path: Path) -> None:
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(b"a cat")
    async with AsyncClient(zoo.target, retry=retry) as client:
        cat, bad = await client.predict("efficientnet_lite0", [photo, b"bad"])
        assert isinstance(cat, Classification)
        assert cat.labels[0].name == "a cat"
        assert isinstance(bad, PredictionError)
        with pytest.raises(BadInput, match="no such file"):
            await client.predict("efficientnet_lite0", tmp_path / "none.jpg")


def test_a_text_that_was_given_for_a_path_is_not_repeated_whole(client: Client) -> None:
    given = Path("/9j/" + "AbCd" * 1000)
    with pytest.raises(BadInput) as refused:
        client.predict("efficientnet_lite0", given)
    assert len(str(refused.value)) < 200
    assert "(4,004 characters)" in str(refused.value)
