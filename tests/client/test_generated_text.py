"""A written text reaches the caller whole, and what may be said of writing reaches the server."""

from service.client import GeneratedText
from service.client.results import read_response

from service.pb import prediction_pb2 as pb


def test_a_written_text_is_read_whole() -> None:
    written = pb.GeneratedText(text="größe 🐈", token_count=7, finish_reason="stop")
    response = pb.PredictResponse(model="m", version=1, predictions=[pb.PredictionResult(text=written)])
    (outcome,) = read_response(response, 1)
    assert isinstance(outcome, GeneratedText)
    assert (outcome.text, outcome.tokens, outcome.finish_reason) == ("größe 🐈", 7, "stop")


def test_zero_is_said_and_nothing_is_left_unsaid() -> None:
    said = predict_options(None, None, False, 0, max_new_tokens=5, temperature=0.0, seed=0)
    assert said.HasField("temperature")
    assert said.HasField("seed")
    assert (said.max_new_tokens, said.temperature, said.seed) == (5, 0.0, 0)
    unsaid = predict_options(None, None, False, 0)
    assert not any(unsaid.HasField(name) for name in ("max_new_tokens", "temperature", "seed"))
