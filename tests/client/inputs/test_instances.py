"""The kinds of input and the messages that they become."""

from pathlib import Path

import numpy as np
import pytest

from service.client import (
    BadInput,
    Classification,
    Client,
    Embedding,
    IllegalMove,
    PredictionError,
    SamplesInstance,
    Segments,
    Tensors,
)
from tests.support.fake_zoo.server import FakeZoo


def test_path_is_sent_as_the_raw_input_of_the_model(zoo: FakeZoo, client: Client, tmp_path: Path) -> None:
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


def test_str_is_sent_as_a_text_and_its_notes_are_returned(client: Client) -> None:
    short, long = client.predict("all_minilm_l6_v2", ["a cat", "a text that is much too long"])
    assert isinstance(short, Embedding)
    assert short.values.tolist() == [1.0, 0.0]
    assert short.notes == {"truncated": False, "tokens": 5}
    assert isinstance(long, Embedding)
    assert long.notes["truncated"] is True


def test_two_texts_by_name_are_sent_as_a_pair(zoo: FakeZoo, client: Client) -> None:
    client.predict("all_minilm_l6_v2", {"text": "It rains.", "text_pair": "It is wet."})
    sent = zoo.calls["Predict"][-1].instances[0].text_pair
    assert (sent.text, sent.text_pair) == ("It rains.", "It is wet.")
    with pytest.raises(BadInput, match="surrogates"):
        client.predict("all_minilm_l6_v2", {"text": "a", "text_pair": "\ud800"})


def test_query_with_documents_is_sent_as_a_ranking(zoo: FakeZoo, client: Client) -> None:
    with pytest.raises(PredictionError, match="too old"):  # this stand-in ranks nothing
        client.predict("all_minilm_l6_v2", {"query": "how high?", "documents": ["It is 42 m high.", "It is red."]})
    sent = zoo.calls["Predict"][-1].instances[0].ranking
    assert (sent.query, list(sent.documents)) == ("how high?", ["It is 42 m high.", "It is red."])
    with pytest.raises(BadInput, match="surrogates"):
        client.predict("all_minilm_l6_v2", {"query": "a", "documents": ["\ud800"]})


def test_labels_to_choose_from_are_a_list(zoo: FakeZoo, client: Client) -> None:
    client.predict("all_minilm_l6_v2", "a cat", candidate_labels=["animal", "town"], multi_label=True)
    options = zoo.calls["Predict"][-1].options
    assert (list(options.candidate_labels), options.multi_label) == (["animal", "town"], True)
    assert not options.HasField("hypothesis_template")
    with pytest.raises(BadInput, match="list of labels"):
        client.predict("all_minilm_l6_v2", "a cat", candidate_labels="animal")


def test_bytes_for_a_text_model_are_decoded_as_utf8(zoo: FakeZoo, client: Client) -> None:
    client.predict("all_minilm_l6_v2", "grün".encode())
    assert zoo.calls["Predict"][-1].instances[0].text == "grün"
    with pytest.raises(BadInput, match="UTF-8 at byte 1"):
        client.predict("all_minilm_l6_v2", b"a\xff")


def test_array_without_a_name_is_the_only_tensor_of_the_model(client: Client) -> None:
    [answer] = client.predict("efficientnet_lite0", np.zeros(4, np.float32))
    assert isinstance(answer, Tensors)
    assert list(answer.tensors) == ["pixel_values"]
    with pytest.raises(BadInput, match="'input_ids', 'attention_mask'"):
        client.predict("all_minilm_l6_v2", np.zeros(4, np.float32))


def test_array_for_a_model_without_series_is_a_tensor(client: Client) -> None:
    [answer] = client.predict("efficientnet_lite0", np.zeros(4, np.float32))
    assert isinstance(answer, Tensors)


def test_numbers_by_name_for_a_model_without_rows_are_tensors(client: Client) -> None:
    [answer] = client.predict("efficientnet_lite0", {"x": 3.0})
    assert isinstance(answer, Tensors)
    assert answer.tensors["x"].shape == ()


def test_arrays_by_name_for_a_row_model_are_tensors(client: Client) -> None:
    [answer] = client.predict("flats", {"numbers": np.zeros(2, np.float32)})
    assert isinstance(answer, Tensors)


def test_decoded_sound_is_sent_with_its_sample_rate(zoo: FakeZoo, client: Client) -> None:
    [answer] = client.predict("silero_vad", SamplesInstance(np.array([0.0, 0.5], np.float32), 8000))
    assert isinstance(answer, Segments)
    samples = zoo.calls["Predict"][-1].instances[0].samples
    assert (samples.sample_rate_hertz, list(samples.values)) == (8000, [0.0, 0.5])


def test_invalid_input_is_rejected_before_any_call(zoo: FakeZoo, client: Client, tmp_path: Path) -> None:
    for invalid, message in [
        (tmp_path / "none.jpg", "no such file"),
        ("\ud800", "surrogates"),
        ({"x": np.array(["text"])}, "dtype"),
        (3.5, "of type float"),
    ]:
        with pytest.raises(BadInput, match=message):
            client.predict("efficientnet_lite0", invalid)  # type: ignore[arg-type]
    assert not zoo.calls["Predict"]


def test_text_in_place_of_a_photo_or_a_sound_is_rejected_with_what_to_give(zoo: FakeZoo, client: Client) -> None:
    for model, text, kind in (("efficientnet_lite0", "cat.JPG", "a photo"), ("silero_vad", "speech.wav", "a sound")):
        with pytest.raises(BadInput) as caught:
            client.predict(model, text)
        assert str(caught.value) == (
            f"model {model!r} takes {kind}, and a text came; for a file give Path({text!r}), or its bytes: "
            f"Path({text!r}).read_bytes()"
        )
    with pytest.raises(BadInput, match=r"for a file give Path\(NAME\)"):  # the model is known by now
        client.predict("efficientnet_lite0", "/9j/4AAQSkZJRg")
    with pytest.raises(BadInput, match=r"part 'image' is of type str; .*Path\('house\.jpg'\)\.read_bytes"):
        client.predict("flats", {"image": "house.jpg", "row": {"area": 70}})
    assert not zoo.calls["Predict"]
    client.predict("all_minilm_l6_v2", "the file cat.jpg")


def test_error_about_a_long_path_shortens_it(client: Client) -> None:
    given = Path("/9j/" + "AbCd" * 1000)
    with pytest.raises(BadInput) as caught:
        client.predict("efficientnet_lite0", given)
    assert len(str(caught.value)) < 200
    assert "(4,004 characters)" in str(caught.value)


def test_input_for_a_damaged_model_is_rejected_with_its_damage(zoo: FakeZoo, client: Client) -> None:
    zoo.models["flats"].ClearField("raw_input")
    zoo.models["flats"].damaged = "version 1 is damaged: card.json is missing"
    with pytest.raises(IllegalMove, match=r"'flats' does not answer: version 1 is damaged: card\.json is missing"):
        client.predict("flats", b"anything")
