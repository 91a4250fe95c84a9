"""Messages as results."""

from service.client import Classification, Client, GeneratedText
from service.client.results import read_response
from service.pb import prediction_pb2 as pb


def test_generated_text_is_read_with_all_fields() -> None:
    written = pb.GeneratedText(text="größe 🐈", token_count=7, finish_reason="stop")
    response = pb.PredictResponse(model="m", version=1, predictions=[pb.PredictionResult(text=written)])
    (outcome,) = read_response(response, 1)
    assert isinstance(outcome, GeneratedText)
    assert (outcome.text, outcome.tokens, outcome.finish_reason) == ("größe 🐈", 7, "stop")


def test_timing_is_read_in_seconds(client: Client) -> None:
    [answer] = client.predict("efficientnet_lite0", b"x")
    assert isinstance(answer, Classification)
    assert (answer.timing.preprocess_s, answer.timing.execute_s) == (0.002, 0.0305)
    assert (answer.timing.batch_rows, answer.timing.device) == (7, "cpu")
