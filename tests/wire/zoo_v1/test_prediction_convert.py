"""zoo.v1 messages become requests, or an error that names the field; answers become complete messages."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidInput
from service.pb import prediction_pb2 as pb
from service.tasks.base import DTYPES
from service.types import (
    AudioInstance,
    Box,
    Classification,
    DetectedObject,
    Detections,
    Embedding,
    Entities,
    Entity,
    FilledMasks,
    GeneratedText,
    ImageInstance,
    InferReply,
    InferRequest,
    Keypoint,
    Keypoints,
    Label,
    NoteEvent,
    NoteEvents,
    Options,
    Prediction,
    RankedDocument,
    Ranking,
    RankingInstance,
    SamplesInstance,
    Segment,
    Segmentation,
    SegmentedClass,
    SegmentedRegion,
    Segments,
    Shot,
    Shots,
    TensorInstance,
    TextInstance,
    TextPairInstance,
    Timing,
    TokenCandidate,
    Transcript,
    TranscriptChunk,
    TransformedImage,
    VolumeInstance,
    VolumeSegmentation,
)
from service.wire.zoo_v1.prediction_convert import LONGEST_REQUEST_ID, read_request, write_response


def read(*instances: pb.Instance, **fields: Any) -> InferRequest:
    return read_request(pb.PredictRequest(model="m", instances=instances, **fields), None)


def tensor(datatype: str, shape: list[int], data: bytes) -> pb.Instance:
    made = pb.Tensor(datatype=datatype, shape=shape, data=data)
    return pb.Instance(tensors=pb.TensorMap(tensors={"x": made}))


def array_of(instance: object) -> np.ndarray[Any, Any]:
    assert isinstance(instance, TensorInstance), instance
    return instance.tensors["x"]


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_kind_of_instance_is_read() -> None:
    request = read(
        pb.Instance(image=b"jpeg"),
        pb.Instance(text="größe 🐈"),
        pb.Instance(audio=b"wav"),
        pb.Instance(text_pair=pb.TextPair(text="größe", text_pair="🐈")),
        pb.Instance(samples=pb.AudioSamples(sample_rate_hertz=8000, values=[0.5, -1])),
        tensor("FP32", [2], np.array([1, 2], "<f4").tobytes()),
    )
    image, text, audio, pair, samples, tensors = request.instances
    assert image == ImageInstance(b"jpeg")
    assert pair == TextPairInstance("größe".encode(), "🐈".encode())
    assert text == TextInstance("größe 🐈".encode())
    assert audio == AudioInstance(b"wav")
    assert isinstance(samples, SamplesInstance)
    assert (samples.sample_rate, samples.samples.tolist(), samples.samples.dtype) == (8000, [0.5, -1], np.float32)
    assert array_of(tensors).tolist() == [1, 2]


def test_empty_bytes_are_an_instance_and_left_to_the_task() -> None:
    request = read(pb.Instance(image=b""), pb.Instance(text=""), pb.Instance(samples=pb.AudioSamples()))
    assert request.instances[:2] == [ImageInstance(b""), TextInstance(b"")]
    assert len(request.instances[2].samples) == 0  # type: ignore[union-attr]


def test_request_has_all_fields_of_the_message() -> None:
    message = pb.PredictRequest(model="m", version="canary", request_id="mine")
    request = read_request(message, 12.5)
    assert (request.model, request.version, request.request_id, request.deadline) == ("m", "canary", "mine", 12.5)
    assert request.options == Options()


def test_an_option_is_set_only_if_the_caller_set_it() -> None:
    assert read(options=pb.PredictOptions(top_k=0)).options == Options(top_k=0)
    assert read(options=pb.PredictOptions(threshold=0.0)).options == Options(threshold=0.0)
    assert read(options=pb.PredictOptions(include_tensors=True)).options == Options()


def test_priority_travels_with_the_request() -> None:
    assert read().priority == 0
    assert read(options=pb.PredictOptions(priority=3)).priority == 3
    with pytest.raises(
        InvalidInput, match=r"options.priority: expected 1 \(first\) or more, or 0 for the default, got -1"
    ):
        read(options=pb.PredictOptions(priority=-1))


def test_a_request_without_an_id_gets_one_of_its_own() -> None:
    assert read().request_id
    assert read().request_id != read().request_id


def test_a_model_is_required() -> None:
    with pytest.raises(InvalidInput, match=r"^model: is required$"):
        read_request(pb.PredictRequest(), None)


def test_request_id_length_is_bounded() -> None:
    assert read(request_id="x" * LONGEST_REQUEST_ID).request_id == "x" * LONGEST_REQUEST_ID
    with pytest.raises(InvalidInput, match="request_id: expected at most 256 characters, got 257"):
        read(request_id="x" * (LONGEST_REQUEST_ID + 1))


# ── tensors ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_every_datatype_is_read_as_it_was_sent(name: str) -> None:
    given_array = np.array([[0, 1, 0], [1, 1, 0]]).astype(DTYPES[name])
    (instance,) = read(tensor(name, [2, 3], given_array.tobytes())).instances
    np.testing.assert_array_equal(array_of(instance), given_array)
    assert array_of(instance).dtype == DTYPES[name]


@pytest.mark.parametrize("shape", [[], [1], [0], [3, 0, 2], [1] * 64])
def test_unusual_shapes_are_read(shape: list[int]) -> None:
    size = int(np.prod(shape))
    (instance,) = read(tensor("FP32", shape, b"\x00" * 4 * size)).instances
    assert array_of(instance).shape == tuple(shape)


WRONG: list[tuple[pb.Instance, str, str]] = [
    (
        pb.Instance(),
        "instances[1]",
        "expected one of image, text, audio, samples, tensors, row, series, record, text_pair, ranking, video, volume; got none",
    ),
    (tensor("FLOAT", [1], b""), "instances[1].tensors.x.datatype", "got 'FLOAT'"),
    (tensor("BYTES", [1], b""), "instances[1].tensors.x.datatype", "got 'BYTES'"),
    (tensor("", [1], b""), "instances[1].tensors.x.datatype", "got ''"),
    (tensor("FP32", [-1], b""), "instances[1].tensors.x.shape", "expected sizes of 0 and more, got [-1]"),
    (tensor("FP32", [2], b"\x00" * 7), "instances[1].tensors.x.data", "expected 8 bytes for FP32[2], got 7"),
    (tensor("FP32", [2], b"\x00" * 9), "instances[1].tensors.x.data", "expected 8 bytes for FP32[2], got 9"),
    (tensor("FP32", [2**62, 4], b"\x00" * 16), "instances[1].tensors.x.data", "expected 73786976294838206464 bytes"),
    (tensor("FP32", [2**63 - 1] * 8, b""), "instances[1].tensors.x.data", "got 0"),
    (tensor("FP32", [1] * 65, b"\x00" * 4), "instances[1].tensors.x.shape", "expected at most 64 axes, got 65"),
    (tensor("FP32", [0, 2**62, 2**62], b""), "instances[1].tensors.x.shape", "is beyond any tensor"),
]


@pytest.mark.parametrize(("instance", "field", "says"), WRONG, ids=[f"{f}: {s}"[:70] for _, f, s in WRONG])
def test_an_instance_that_cannot_be_read_fails_alone_and_names_its_field(
    instance: pb.Instance, field: str, says: str
) -> None:
    first, wrong, last = read(pb.Instance(text="a"), instance, pb.Instance(text="b")).instances
    assert (first, last) == (TextInstance(b"a"), TextInstance(b"b"))
    assert isinstance(wrong, InvalidInput)
    assert wrong.field == field
    assert says in wrong.problem
    assert len(wrong.message) < 400


def test_error_for_a_huge_shape_is_short() -> None:
    (wrong,) = read(tensor("FP32", [1] * 100_000, b"\x00" * 4)).instances
    assert isinstance(wrong, InvalidInput)
    assert len(wrong.message) < 300


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.sampled_from([*sorted(DTYPES), "BYTES", "?"]),
    st.lists(st.one_of(st.integers(-2, 4), st.sampled_from([2**31, 2**62, 2**63 - 1])), max_size=70),
    st.binary(max_size=64),
)
def test_any_tensor_raises_invalid_input_alone(datatype: str, shape: list[int], data: bytes) -> None:
    (instance,) = read(tensor(datatype, shape, data)).instances
    assert isinstance(instance, TensorInstance | InvalidInput)


# ── replies ───────────────────────────────────────────────────────────────────────────────────────────────────────

ROW = {"y": np.array([[1, 2]], np.float32), "n": np.array(3, np.int64)}


def write(*predictions: Any, include_tensors: bool = False, timing: Timing | None = None) -> pb.PredictResponse:
    return write_response(InferReply("m", 7, "id", predictions, timing or Timing()), include_tensors)


def test_reply_has_model_version_and_timing() -> None:
    response = write(timing=Timing(0.25, 1.5, 0.000_000_001, 61.0, 8, 0.125, "cuda:0", "fp32"))
    assert (response.model, response.version, response.request_id) == ("m", 7, "id")
    timing = response.timing
    assert (timing.preprocess.seconds, timing.preprocess.nanos) == (0, 250_000_000)
    assert (timing.queue.seconds, timing.queue.nanos) == (1, 500_000_000)
    assert (timing.execute.seconds, timing.execute.nanos) == (0, 1)
    assert timing.postprocess.seconds == 61
    assert (timing.batch_rows, timing.padding_ratio, timing.device) == (8, 0.125, "cuda:0")
    assert timing.precision == "fp32"


def test_a_classification_keeps_its_labels_in_order() -> None:
    (result,) = write(Prediction(ROW, Classification((Label(3, "cat", 0.75), Label(1, "dog", 0.25))))).predictions
    assert [(label.index, label.name, label.score) for label in result.classification.labels] == [
        (3, "cat", 0.75),
        (1, "dog", 0.25),
    ]
    assert not result.HasField("outputs")


def test_classification_without_labels_is_an_answer() -> None:
    (result,) = write(Prediction(ROW, Classification(()))).predictions
    assert result.WhichOneof("result") == "classification"


def test_an_embedding_keeps_every_number() -> None:
    values = np.array([0.1, np.nan, -np.inf], np.float32)
    (result,) = write(Prediction(ROW, Embedding(values))).predictions
    np.testing.assert_array_equal(np.array(result.embedding.values, np.float32), values)


def test_segments_keep_their_times() -> None:
    found = Segments((Segment(0.258, 3.07, 0.5),), 0.032, np.array([0.5, 0.25], np.float32), 3.2)
    segments = write(Prediction(ROW, found)).predictions[0].segments
    assert segments.segments[0].start.ToNanoseconds() == 258_000_000
    assert segments.segments[0].end.ToNanoseconds() == 3_070_000_000
    assert segments.frame_duration.ToNanoseconds() == 32_000_000
    assert segments.duration.ToNanoseconds() == 3_200_000_000
    assert list(segments.frame_probabilities) == [0.5, 0.25]


def test_empty_segments_are_an_answer() -> None:
    (result,) = write(Prediction(ROW, Segments((), 0.032, np.zeros(0, np.float32), 0.0))).predictions
    assert result.WhichOneof("result") == "segments"


def test_notes_of_music_keep_their_times_and_pitches() -> None:
    found = NoteEvents((NoteEvent(0.25, 1.5, 70, "A#4", 0.5, 64),), 2.0)
    (result, silence) = write(Prediction(ROW, found), Prediction(ROW, NoteEvents((), 0.5))).predictions
    (one,) = result.note_events.events
    assert (one.start.ToNanoseconds(), one.end.ToNanoseconds()) == (250_000_000, 1_500_000_000)
    assert (one.pitch, one.name, one.amplitude, one.velocity) == (70, "A#4", 0.5, 64)
    assert silence.WhichOneof("result") == "note_events"


def read_map(tensors: pb.TensorMap) -> dict[str, Any]:
    (instance,) = read(pb.Instance(tensors=tensors)).instances
    assert isinstance(instance, TensorInstance)
    return dict(instance.tensors)


def test_tensors_in_give_tensors_out_that_can_be_read_again() -> None:
    (result,) = write(Prediction(ROW)).predictions
    assert result.WhichOneof("result") == "tensors"
    for name, array in read_map(result.tensors).items():
        np.testing.assert_array_equal(array, ROW[name])
        assert array.dtype == ROW[name].dtype


def test_tensors_are_sent_beside_the_answer_where_requested() -> None:
    answered = Prediction(ROW, Embedding(np.zeros(1, np.float32)))
    (result,) = write(answered, include_tensors=True).predictions
    assert result.WhichOneof("result") == "embedding"
    assert read_map(result.outputs).keys() == ROW.keys()


def test_notes_are_written_to_the_reply() -> None:
    notes = {"truncated": True, "tokens": 256, "ratio": 0.5, "why": "long"}
    (result,) = write(Prediction(ROW, None, notes)).predictions
    assert dict(result.notes) == notes


def test_error_is_in_the_place_of_its_instance() -> None:
    results = write(Prediction(ROW), InvalidInput("instances[1]", "is empty"), Prediction(ROW)).predictions
    assert [result.WhichOneof("result") for result in results] == ["tensors", "error", "tensors"]
    assert results[1].error.code == 3
    assert results[1].error.message == "instances[1]: is empty"


# ── text that is written ──────────────────────────────────────────────────────────────────────────────────────────


def test_generation_options_are_read_and_unset_ones_stay_unset() -> None:
    said = pb.PredictOptions(max_new_tokens=0, temperature=0.0, seed=0)
    assert read(pb.Instance(text="a"), options=said).options == Options(max_new_tokens=0, temperature=0.0, seed=0)
    assert read(pb.Instance(text="a")).options == Options()


def test_transcript_is_written_with_the_times_of_its_parts() -> None:
    said = Transcript("good morning", (TranscriptChunk("good", 0.25, 1.0), TranscriptChunk("morning", 1.0, 2.5)))
    messages = [
        write_response(InferReply("m", 1, "r", [Prediction({}, one)], Timing()), False).predictions[0]
        for one in (said, Transcript("", ()))
    ]
    assert [message.WhichOneof("result") for message in messages] == ["transcript", "transcript"]
    found = messages[0].transcript
    assert [(c.text, c.start.ToMilliseconds(), c.end.ToMilliseconds()) for c in found.chunks] == [
        ("good", 250, 1000),
        ("morning", 1000, 2500),
    ]
    assert (found.text, messages[1].transcript.text) == ("good morning", "")


def test_generated_text_is_written_whole() -> None:
    prediction = Prediction({}, GeneratedText("größe 🐈", 7, "stop"))
    message = write_response(InferReply("m", 1, "r", [prediction], Timing()), False).predictions[0]
    assert message.WhichOneof("result") == "text"
    assert (message.text.text, message.text.token_count, message.text.finish_reason) == ("größe 🐈", 7, "stop")


def test_objects_are_written_with_boxes_and_the_size_of_the_image() -> None:
    found = DetectedObject(2, "cat", 0.75, Box(-1.5, 2.0, 30.0, 40.0))
    answers = [Prediction({}, Detections((found,), 64, 48)), Prediction({}, Detections((), 64, 48))]
    full, none = write_response(InferReply("m", 1, "id", answers, Timing()), False).predictions
    assert (full.detections.image_width, full.detections.image_height) == (64, 48)
    (one,) = full.detections.objects
    assert (one.index, one.name, one.score) == (2, "cat", 0.75)
    assert (one.box.xmin, one.box.ymin, one.box.xmax, one.box.ymax) == (-1.5, 2.0, 30.0, 40.0)
    assert none.WhichOneof("result") == "detections", "an image without objects is an answer"


def test_points_are_written_with_places_and_the_size_of_the_image() -> None:
    point = Keypoint(9, "left_wrist", -1.5, 30.25, 0.75)
    answers = [Prediction({}, Keypoints((point,), 64, 48)), Prediction({}, Keypoints((), 64, 48))]
    full, none = write_response(InferReply("m", 1, "id", answers, Timing()), False).predictions
    assert (full.keypoints.image_width, full.keypoints.image_height) == (64, 48)
    (one,) = full.keypoints.keypoints
    assert (one.index, one.name, one.x, one.y, one.score) == (9, "left_wrist", -1.5, 30.25, 0.75)
    assert none.WhichOneof("result") == "keypoints", "an image without points is an answer"


def test_mask_is_written_with_its_classes() -> None:
    answer = Segmentation((SegmentedClass(3, "wall", 0.75),), b"png", 64, 48)
    (result,) = write_response(InferReply("m", 1, "id", [Prediction({}, answer)], Timing()), False).predictions
    written = result.segmentation
    assert (written.mask, written.image_width, written.image_height) == (b"png", 64, 48)
    assert (written.classes[0].index, written.classes[0].name, written.classes[0].share) == (3, "wall", 0.75)


def test_shots_are_written_with_their_times_and_without_a_score_at_the_end_of_the_video() -> None:
    shots = (Shot(0, 24, 0.0, 1.0, 0.75), Shot(25, 49, 1.0, 2.0))
    answer = Shots(shots, 50, 2.0, np.array([0.25] * 50, np.float32))
    (result,) = write_response(InferReply("m", 1, "id", [Prediction({}, answer)], Timing()), False).predictions
    first, last = result.shots.shots
    assert (first.start_frame, first.end_frame, first.end.seconds, first.cut_score) == (0, 24, 1, 0.75)
    assert (last.start.seconds, last.HasField("cut_score")) == (1, False)
    assert (result.shots.frame_count, result.shots.duration.seconds, len(result.shots.cut_probabilities)) == (50, 2, 50)


def test_image_is_written_with_its_size() -> None:
    answer = TransformedImage(b"png", 64, 48)
    (result,) = write_response(InferReply("m", 1, "id", [Prediction({}, answer)], Timing()), False).predictions
    assert result.WhichOneof("result") == "image"
    assert (result.image.image, result.image.width, result.image.height) == (b"png", 64, 48)


def test_volume_is_read_as_it_came_and_its_regions_are_written() -> None:
    assert read(pb.Instance(volume=b"nifti")).instances == [VolumeInstance(b"nifti")]
    region = SegmentedRegion(1, "brain", 240, 1.92, (4, 10, 5), (10, 20, 9))
    answer = VolumeSegmentation((region,), b"mask", (40, 48, 44))
    (result,) = write_response(InferReply("m", 1, "id", [Prediction({}, answer)], Timing()), False).predictions
    written = result.volume.regions[0]
    assert (written.index, written.name, written.voxels, written.millilitres) == (1, "brain", 240, 1.92)
    assert (list(written.start), list(written.end)) == ([4, 10, 5], [10, 20, 9])
    assert (result.volume.mask, list(result.volume.shape)) == (b"mask", [40, 48, 44])


def test_kernel_is_read_where_it_is_set() -> None:
    options = pb.PredictOptions(kernel="blur", kernel_scale=2.0, kernel_offset=0.0)
    found = read(pb.Instance(image=b"x"), options=options).options
    assert (found.kernel, found.kernel_scale, found.kernel_offset) == ("blur", 2.0, 0.0)
    unset = read(pb.Instance(image=b"x")).options
    assert (unset.kernel, unset.kernel_scale, unset.kernel_offset) == (None, None, None)


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_query_and_labels_are_read() -> None:
    query = pb.RankingQuery(query="größe", documents=["a", "🐈"])
    options = pb.PredictOptions(candidate_labels=["x", "y"], hypothesis_template="{}!", multi_label=True)
    request = read(pb.Instance(ranking=query), options=options)
    assert request.instances[0] == RankingInstance("größe".encode(), (b"a", "🐈".encode()))
    found = request.options
    assert (found.candidate_labels, found.hypothesis_template, found.multi_label) == (("x", "y"), "{}!", True)
    unset = read(pb.Instance(text="a")).options
    assert (unset.candidate_labels, unset.hypothesis_template, unset.multi_label) == (None, None, None)


def test_too_many_labels_and_documents_are_refused_before_they_are_read() -> None:
    with pytest.raises(InvalidInput, match=r"options\.candidate_labels: expected 1 to 100 labels, got 101"):
        read(pb.Instance(text="a"), options=pb.PredictOptions(candidate_labels=["x"] * 101))
    with pytest.raises(InvalidInput, match="expected at most 4,096 documents together, got 4,097"):
        read(pb.Instance(ranking=pb.RankingQuery(query="q", documents=["d"] * 4097)))


def test_answers_to_texts_are_written_whole() -> None:
    answers = [
        Entities((Entity("PER", 0.5, 0, 5, "Alice"),)),
        Entities(()),
        FilledMasks(((TokenCandidate(7, "lamp", 0.5, "a lamp"),), ())),
        Ranking((RankedDocument(1, 0.5), RankedDocument(0, 0.25))),
    ]
    reply = InferReply("m", 1, "r", [Prediction({}, answer) for answer in answers], Timing())
    entities, none, masks, ranking = write_response(reply, False).predictions
    [span] = entities.entities.entities
    assert (span.label, span.score, span.start, span.end, span.text) == ("PER", 0.5, 0, 5, "Alice")
    assert none.WhichOneof("result") == "entities"
    first, second = masks.filled_masks.masks
    [candidate] = first.candidates
    assert (candidate.token_id, candidate.token, candidate.score, candidate.sequence) == (7, "lamp", 0.5, "a lamp")
    assert not second.candidates
    assert [(one.index, one.score) for one in ranking.ranking.documents] == [(1, 0.5), (0, 0.25)]


def test_documents_of_a_request_are_counted_together_before_they_are_read() -> None:
    query = pb.Instance(ranking=pb.RankingQuery(query="q", documents=["d"] * 2049))
    with pytest.raises(InvalidInput, match=r"instances: expected at most 4,096 documents together, got 4,098"):
        read_request(pb.PredictRequest(model="m", instances=[query, query]), None)
