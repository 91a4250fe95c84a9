"""Predictions: `zoo.v1` messages ↔ domain types. Uses no grpc and does not block."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from google.protobuf.duration_pb2 import Duration

from service.errors import InvalidInput, ZooError
from service.pb import prediction_pb2 as pb
from service.protobuf_values import sorted_items
from service.tasks.base import MOST_LABELS
from service.types import (
    DTYPES,
    Answer,
    Array,
    Attribution,
    AudioInstance,
    Classification,
    Detections,
    Embedding,
    Entities,
    FilledMasks,
    Forecast,
    GeneratedText,
    ImageInstance,
    InferReply,
    InferRequest,
    Instance,
    Keypoints,
    NoteEvents,
    Options,
    OutputTensors,
    Prediction,
    Ranking,
    RankingInstance,
    Regression,
    SamplesInstance,
    Segmentation,
    Segments,
    Shots,
    TensorInstance,
    Tensors,
    TextInstance,
    TextPairInstance,
    Timing,
    Transcript,
    TransformedImage,
    VideoInstance,
    VolumeInstance,
    VolumeSegmentation,
)
from service.wire.status import status_of
from service.wire.structured import check_rows, read_record, read_row, read_series

LONGEST_REQUEST_ID = 256
MAX_INSTANCES = 4096
"""Of one request. Each instance becomes an object or an error, and one small message could hold millions."""
MOST_AXES = 64
"""The limit of NumPy."""


def read_request(request: pb.PredictRequest, deadline: float | None) -> InferRequest:
    """Raises InvalidInput with the path of the field that is wrong. A mistake within one instance fails that instance alone."""
    if not request.model:
        raise InvalidInput("model", "is required")
    if len(request.request_id) > LONGEST_REQUEST_ID:
        came = len(request.request_id)
        raise InvalidInput("request_id", f"expected at most {LONGEST_REQUEST_ID} characters, got {came}")
    if len(request.instances) > MAX_INSTANCES:
        raise InvalidInput(
            "instances", f"expected at most {MAX_INSTANCES} in one request, got {len(request.instances)}"
        )
    check_rows(request.instances)
    options = request.options
    return InferRequest(
        model=request.model,
        version=request.version,
        request_id=request.request_id or uuid.uuid4().hex,
        instances=[_read_instance_alone(instance, i) for i, instance in enumerate(request.instances)],
        options=Options(
            top_k=options.top_k if options.HasField("top_k") else None,
            threshold=options.threshold if options.HasField("threshold") else None,
            max_new_tokens=options.max_new_tokens if options.HasField("max_new_tokens") else None,
            temperature=options.temperature if options.HasField("temperature") else None,
            seed=options.seed if options.HasField("seed") else None,
            candidate_labels=_labels(options),
            hypothesis_template=options.hypothesis_template if options.HasField("hypothesis_template") else None,
            multi_label=options.multi_label if options.HasField("multi_label") else None,
            kernel=options.kernel if options.HasField("kernel") else None,
            kernel_scale=options.kernel_scale if options.HasField("kernel_scale") else None,
            kernel_offset=options.kernel_offset if options.HasField("kernel_offset") else None,
            attribute=options.attribute or None,
        ),
        deadline=deadline,
        priority=_priority(options),
    )


def _labels(options: pb.PredictOptions) -> tuple[str, ...] | None:
    count = len(options.candidate_labels)
    if count > MOST_LABELS:
        raise InvalidInput("options.candidate_labels", f"expected 1 to {MOST_LABELS} labels, got {count:,}")
    return tuple(options.candidate_labels) or None


def _priority(options: pb.PredictOptions) -> int:
    if options.priority < 0:
        raise InvalidInput(
            "options.priority", f"expected 1 (first) or more, or 0 for the default, got {options.priority}"
        )
    return options.priority


def _read_instance_alone(instance: pb.Instance, index: int) -> Instance | InvalidInput:
    try:
        return _read_instance(instance, f"instances[{index}]")
    except InvalidInput as error:
        return error


def _read_instance(instance: pb.Instance, path: str) -> Instance:
    match instance.WhichOneof("kind"):
        case "image":
            return ImageInstance(instance.image)
        case "text":
            return TextInstance(instance.text.encode())
        case "text_pair":
            return TextPairInstance(instance.text_pair.text.encode(), instance.text_pair.text_pair.encode())
        case "ranking":
            return _read_ranking(instance.ranking)
        case "volume":
            return VolumeInstance(instance.volume)
        case "audio":
            return AudioInstance(instance.audio)
        case "samples":
            values = np.array(instance.samples.values, np.float32)
            return SamplesInstance(values, instance.samples.sample_rate_hertz)
        case "video":
            return VideoInstance(instance.video)
        case "tensors":
            tensors = instance.tensors.tensors
            return TensorInstance(
                {name: _read_tensor(t, f"{path}.tensors.{name}") for name, t in sorted_items(tensors)}
            )
        case "row":
            return read_row(instance.row, f"{path}.row")
        case "series":
            return read_series(instance.series, f"{path}.series")
        case "record":
            return read_record(instance.record, f"{path}.record", _read_instance)
    raise InvalidInput(
        path,
        "expected one of image, text, audio, samples, tensors, row, series, record, text_pair, ranking, video, volume; "
        "got none",
    )


def _read_ranking(message: pb.RankingQuery) -> RankingInstance:
    return RankingInstance(message.query.encode(), tuple(document.encode() for document in message.documents))


def _read_tensor(tensor: pb.Tensor, path: str) -> Array:
    dtype = DTYPES.get(tensor.datatype)
    if dtype is None:
        raise InvalidInput(f"{path}.datatype", f"expected one of {', '.join(DTYPES)}, got {tensor.datatype[:32]!r}")
    shape = tuple(tensor.shape)
    if len(shape) > MOST_AXES:
        raise InvalidInput(f"{path}.shape", f"expected at most {MOST_AXES} axes, got {len(shape)}")
    if any(size < 0 for size in shape):
        raise InvalidInput(f"{path}.shape", f"expected sizes of 0 and more, got {list(shape)}")
    count = 1
    for size in shape:
        count *= size  # Python's integers do not overflow
    if count * dtype.itemsize != len(tensor.data):
        want = f"{count * dtype.itemsize} bytes for {tensor.datatype}{list(shape)}"
        raise InvalidInput(f"{path}.data", f"expected {want}, got {len(tensor.data)}")
    try:
        return np.frombuffer(tensor.data, dtype.newbyteorder("<")).reshape(shape)
    except ValueError:  # no elements, but an axis that is larger than an array may have
        raise InvalidInput(f"{path}.shape", f"is beyond any tensor: {list(shape)}") from None


def write_response(reply: InferReply, include_tensors: bool) -> pb.PredictResponse:
    """A reply with the result of every instance in its place."""
    return pb.PredictResponse(
        model=reply.model,
        version=reply.version,
        request_id=reply.request_id,
        predictions=[_write_result(prediction, include_tensors) for prediction in reply.predictions],
        timing=_write_timing(reply.timing),
    )


def _write_result(prediction: Prediction | ZooError, include_tensors: bool) -> pb.PredictionResult:
    if isinstance(prediction, ZooError):
        return pb.PredictionResult(error=status_of(prediction))
    result = pb.PredictionResult()
    if prediction.answer is None:
        result.tensors.CopyFrom(_write_tensors(prediction.tensors))
    else:
        _WRITERS[type(prediction.answer)](prediction.answer, result)
    if prediction.attribution is not None:
        _write_attribution(prediction.attribution, result.attribution)
    if include_tensors:
        result.outputs.CopyFrom(_write_tensors(prediction.tensors))
    if prediction.notes:
        result.notes.update(dict(prediction.notes))
    return result


def _write_attribution(attribution: Attribution, message: pb.Attribution) -> None:
    label, heat_map = attribution.label, attribution.heat_map
    message.label.CopyFrom(pb.Label(index=label.index, name=label.name, score=label.score))
    message.words.extend(
        pb.WordWeight(start=w.start, end=w.end, text=w.text, weight=w.weight) for w in attribution.words
    )
    if heat_map is not None:
        rows, columns = heat_map.weights.shape
        area = pb.Box(xmin=heat_map.xmin, ymin=heat_map.ymin, xmax=heat_map.xmax, ymax=heat_map.ymax)
        cells = heat_map.weights.ravel().tolist()
        message.heat_map.CopyFrom(pb.HeatMap(rows=rows, columns=columns, weights=cells, area=area))


def _write_classification(answer: Classification, result: pb.PredictionResult) -> None:
    result.classification.SetInParent()  # an answer without labels, where none is above the threshold
    for label in answer.labels:
        result.classification.labels.add(index=label.index, name=label.name, score=label.score)


def _write_embedding(answer: Embedding, result: pb.PredictionResult) -> None:
    result.embedding.values.extend(answer.values.tolist())


def _write_segments(answer: Segments, result: pb.PredictionResult) -> None:
    message = result.segments
    message.frame_duration.CopyFrom(_duration(answer.frame_s))
    message.duration.CopyFrom(_duration(answer.duration_s))
    message.frame_probabilities.extend(answer.probabilities.tolist())
    for segment in answer.segments:
        message.segments.add(start=_duration(segment.start_s), end=_duration(segment.end_s), score=segment.score)


def _write_shots(answer: Shots, result: pb.PredictionResult) -> None:
    message = result.shots
    message.frame_count = answer.frame_count
    message.duration.CopyFrom(_duration(answer.duration_s))
    message.cut_probabilities.extend(answer.probabilities.tolist())
    for shot in answer.shots:
        message.shots.add(
            start_frame=shot.start_frame,
            end_frame=shot.end_frame,
            start=_duration(shot.start_s),
            end=_duration(shot.end_s),
            cut_score=shot.cut_score,
        )


def _write_notes(answer: NoteEvents, result: pb.PredictionResult) -> None:
    message = result.note_events
    message.duration.CopyFrom(_duration(answer.duration_s))
    for one in answer.events:
        message.events.add(
            start=_duration(one.start_s),
            end=_duration(one.end_s),
            pitch=one.pitch,
            name=one.name,
            amplitude=one.amplitude,
            velocity=one.velocity,
        )


def _write_entities(answer: Entities, result: pb.PredictionResult) -> None:
    result.entities.SetInParent()  # an answer without spans
    for one in answer.entities:
        result.entities.entities.add(label=one.label, score=one.score, start=one.start, end=one.end, text=one.text)


def _write_filled_masks(answer: FilledMasks, result: pb.PredictionResult) -> None:
    for candidates in answer.masks:
        mask = result.filled_masks.masks.add()
        for one in candidates:
            mask.candidates.add(token_id=one.token_id, token=one.token, score=one.score, sequence=one.sequence)


def _write_ranking(answer: Ranking, result: pb.PredictionResult) -> None:
    for one in answer.documents:
        result.ranking.documents.add(index=one.index, score=one.score)


def _write_text(answer: GeneratedText, result: pb.PredictionResult) -> None:
    result.text.text = answer.text
    result.text.token_count = answer.tokens
    result.text.finish_reason = answer.finish_reason


def _write_transcript(answer: Transcript, result: pb.PredictionResult) -> None:
    message = result.transcript
    message.text = answer.text
    for chunk in answer.chunks:
        message.chunks.add(text=chunk.text, start=_duration(chunk.start_s), end=_duration(chunk.end_s))
    message.SetInParent()


def _write_regression(answer: Regression, result: pb.PredictionResult) -> None:
    result.regression.value = answer.value
    if answer.lower is not None:
        result.regression.lower = answer.lower
    if answer.upper is not None:
        result.regression.upper = answer.upper


def _write_forecast(answer: Forecast, result: pb.PredictionResult) -> None:
    message = result.forecast
    message.values.extend(answer.values.ravel().tolist())
    message.channels = answer.values.shape[1]
    if answer.lower is not None and answer.upper is not None:
        message.lower.extend(answer.lower.ravel().tolist())
        message.upper.extend(answer.upper.ravel().tolist())


def _write_detections(answer: Detections, result: pb.PredictionResult) -> None:
    message = result.detections
    message.image_width, message.image_height = answer.width, answer.height
    for found in answer.objects:
        box = pb.Box(xmin=found.box.xmin, ymin=found.box.ymin, xmax=found.box.xmax, ymax=found.box.ymax)
        message.objects.add(index=found.index, name=found.name, score=found.score, box=box)


def _write_keypoints(answer: Keypoints, result: pb.PredictionResult) -> None:
    message = result.keypoints
    message.image_width, message.image_height = answer.width, answer.height
    for point in answer.points:
        message.keypoints.add(index=point.index, name=point.name, x=point.x, y=point.y, score=point.score)


def _write_outputs(answer: OutputTensors, result: pb.PredictionResult) -> None:
    result.tensors.CopyFrom(_write_tensors(answer.tensors))


def _write_segmentation(answer: Segmentation, result: pb.PredictionResult) -> None:
    message = result.segmentation
    message.mask, message.image_width, message.image_height = answer.mask, answer.width, answer.height
    for one in answer.classes:
        message.classes.add(index=one.index, name=one.name, share=one.share)


def _write_image(answer: TransformedImage, result: pb.PredictionResult) -> None:
    message = result.image
    message.image, message.width, message.height = answer.image, answer.width, answer.height


def _write_volume(answer: VolumeSegmentation, result: pb.PredictionResult) -> None:
    message = result.volume
    message.mask = answer.mask
    message.shape.extend(answer.shape)
    for one in answer.regions:
        message.regions.add(
            index=one.index,
            name=one.name,
            voxels=one.voxels,
            millilitres=one.millilitres,
            start=one.start,
            end=one.end,
        )


_WRITERS: dict[type[Answer], Callable[[Any, pb.PredictionResult], None]] = {
    Classification: _write_classification,
    Embedding: _write_embedding,
    Segments: _write_segments,
    Shots: _write_shots,
    NoteEvents: _write_notes,
    Entities: _write_entities,
    FilledMasks: _write_filled_masks,
    Ranking: _write_ranking,
    GeneratedText: _write_text,
    Transcript: _write_transcript,
    Regression: _write_regression,
    Forecast: _write_forecast,
    Detections: _write_detections,
    Keypoints: _write_keypoints,
    OutputTensors: _write_outputs,
    Segmentation: _write_segmentation,
    TransformedImage: _write_image,
    VolumeSegmentation: _write_volume,
}

_DATATYPES = {dtype: name for name, dtype in DTYPES.items()}


def _write_tensors(tensors: Tensors) -> pb.TensorMap:
    return pb.TensorMap(
        tensors={
            name: pb.Tensor(datatype=_DATATYPES[array.dtype], shape=array.shape, data=array.tobytes())
            for name, array in tensors.items()
        }
    )


def _write_timing(timing: Timing) -> pb.Timing:
    return pb.Timing(
        preprocess=_duration(timing.preprocess_s),
        queue=_duration(timing.queue_s),
        execute=_duration(timing.execute_s),
        postprocess=_duration(timing.postprocess_s),
        batch_rows=timing.batch_rows,
        padding_ratio=timing.padding_ratio,
        device=timing.device,
        precision=timing.precision,
    )


def _duration(seconds: float) -> Duration:
    nanos = round(seconds * 1e9)
    return Duration(seconds=nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)
