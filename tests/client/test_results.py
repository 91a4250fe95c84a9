"""Messages as results."""

from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from service.client import (
    Box,
    Classification,
    Client,
    DetectedObject,
    Detections,
    GeneratedText,
    Keypoint,
    Keypoints,
    NoteEvent,
    NoteEvents,
    Segmentation,
    SegmentedClass,
    SegmentedRegion,
    Shot,
    Shots,
    Transcript,
    TranscriptChunk,
    TransformedImage,
    VolumeSegmentation,
)
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


def test_notes_are_read_in_seconds() -> None:
    music = pb.NoteEvents(duration=Duration(seconds=2))
    music.events.add(
        start=Duration(nanos=250_000_000), end=Duration(seconds=1), pitch=70, name="A#4", amplitude=0.5, velocity=64
    )
    response = pb.PredictResponse(model="m", version=1, predictions=[pb.PredictionResult(note_events=music)])
    (outcome,) = read_response(response, 1)
    assert isinstance(outcome, NoteEvents)
    assert (outcome.events, outcome.duration_s) == ((NoteEvent(0.25, 1.0, 70, "A#4", 0.5, 64),), 2.0)


def test_timing_is_read_in_seconds(client: Client) -> None:
    [answer] = client.predict("efficientnet_lite0", b"x")
    assert isinstance(answer, Classification)
    assert (answer.timing.preprocess_s, answer.timing.execute_s) == (0.002, 0.0305)
    assert (answer.timing.batch_rows, answer.timing.device) == (7, "cpu")


def test_objects_are_read_with_their_boxes_and_the_size_of_the_image() -> None:
    box = pb.Box(xmin=-1.5, ymin=2, xmax=30, ymax=40)
    message = pb.Detections(image_width=64, image_height=48)
    message.objects.add(index=2, name="чашка ☕", score=0.75, box=box)
    response = pb.PredictResponse(model="m", version=1, predictions=[pb.PredictionResult(detections=message)])
    (outcome,) = read_response(response, 1)
    assert isinstance(outcome, Detections)
    assert (outcome.width, outcome.height) == (64, 48)
    assert outcome.objects == (DetectedObject(2, "чашка ☕", 0.75, Box(-1.5, 2, 30, 40)),)


def test_points_are_read_with_places() -> None:
    message = pb.Keypoints(image_width=64, image_height=48)
    message.keypoints.add(index=9, name="left_wrist", x=-1.5, y=30.25, score=0.75)
    response = pb.PredictResponse(model="m", version=1, predictions=[pb.PredictionResult(keypoints=message)])
    (outcome,) = read_response(response, 1)
    assert isinstance(outcome, Keypoints)
    assert (outcome.points, outcome.width, outcome.height) == ((Keypoint(9, "left_wrist", -1.5, 30.25, 0.75),), 64, 48)


def test_mask_is_read_with_its_classes() -> None:
    message = pb.Segmentation(mask=b"png", image_width=64, image_height=48)
    message.classes.add(index=3, name="wall", share=0.75)
    response = pb.PredictResponse(model="m", version=1, predictions=[pb.PredictionResult(segmentation=message)])
    (outcome,) = read_response(response, 1)
    assert isinstance(outcome, Segmentation)
    assert (outcome.mask, outcome.width, outcome.height) == (b"png", 64, 48)
    assert outcome.classes == (SegmentedClass(3, "wall", 0.75),)


def test_shots_are_read_with_their_times() -> None:
    message = pb.Shots(frame_count=50, cut_probabilities=[0.25] * 50)
    message.duration.seconds = 2
    message.shots.add(start_frame=0, end_frame=24, cut_score=0.75).end.seconds = 1
    message.shots.add(start_frame=25, end_frame=49)
    (outcome,) = read_response(pb.PredictResponse(predictions=[pb.PredictionResult(shots=message)]), 1)
    assert isinstance(outcome, Shots)
    assert outcome.shots == (Shot(0, 24, 0.0, 1.0, 0.75), Shot(25, 49, 0.0, 0.0, None))
    assert (outcome.frame_count, outcome.duration_s, outcome.probabilities.shape) == (50, 2.0, (50,))


def test_image_is_read_and_saved(tmp_path: Path) -> None:
    message = pb.TransformedImage(image=b"png", width=64, height=48)
    response = pb.PredictResponse(model="m", version=1, predictions=[pb.PredictionResult(image=message)])
    (outcome,) = read_response(response, 1)
    assert isinstance(outcome, TransformedImage)
    assert (outcome.image, outcome.width, outcome.height) == (b"png", 64, 48)
    outcome.save(tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == b"png"


def test_regions_of_a_volume_are_read_and_its_mask_is_saved(tmp_path: Path) -> None:
    region = pb.SegmentedRegion(index=1, name="brain", voxels=240, millilitres=1.92, start=[4, 10, 5], end=[10, 20, 9])
    message = pb.VolumeSegmentation(regions=[region], mask=b"mask", shape=[40, 48, 44])
    response = pb.PredictResponse(model="m", version=1, predictions=[pb.PredictionResult(volume=message)])
    (outcome,) = read_response(response, 1)
    assert isinstance(outcome, VolumeSegmentation)
    assert outcome.regions == (SegmentedRegion(1, "brain", 240, 1.92, (4, 10, 5), (10, 20, 9)),)
    assert (outcome.mask, outcome.shape) == (b"mask", (40, 48, 44))
    outcome.save(tmp_path / "mask.nii.gz")
    assert (tmp_path / "mask.nii.gz").read_bytes() == b"mask"
