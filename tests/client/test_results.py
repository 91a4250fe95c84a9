"""Messages as results."""

from google.protobuf.duration_pb2 import Duration

from service.client import Classification, Client, GeneratedText, Transcript, TranscriptChunk
from service.client.results import read_response
from service.pb import prediction_pb2 as pb


def test_generated_text_is_read_with_all_fields() -> None:
    written = pb.GeneratedText(text="größe 🐈", token_count=7, finish_reason="stop")
    response = pb.PredictResponse(model="m", version=1, predictions=[pb.PredictionResult(text=written)])
    (outcome,) = read_response(response, 1)
    assert isinstance(outcome, GeneratedText)
    assert (outcome.text, outcome.tokens, outcome.finish_reason) == ("größe 🐈", 7, "stop")


def test_transcript_is_read_with_its_parts() -> None:
    said = pb.Transcript(text="good morning")
    said.chunks.add(text="good", start=Duration(nanos=250_000_000), end=Duration(seconds=1))
    said.chunks.add(text="morning", start=Duration(seconds=1), end=Duration(seconds=2, nanos=500_000_000))
    response = pb.PredictResponse(model="m", version=1, predictions=[pb.PredictionResult(transcript=said)])
    (outcome,) = read_response(response, 1)
    assert isinstance(outcome, Transcript)
    assert outcome.text == "good morning"
    assert outcome.chunks == (TranscriptChunk("good", 0.25, 1.0), TranscriptChunk("morning", 1.0, 2.5))


def test_timing_is_read_in_seconds(client: Client) -> None:
    [answer] = client.predict("efficientnet_lite0", b"x")
    assert isinstance(answer, Classification)
    assert (answer.timing.preprocess_s, answer.timing.execute_s) == (0.002, 0.0305)
    assert (answer.timing.batch_rows, answer.timing.device) == (7, "cpu")
