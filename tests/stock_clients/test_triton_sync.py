"""Triton's blocking client, unmodified."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.stock_clients.triton_calls import (
    CAT,
    CATS,
    CNN,
    RNN,
    SPEECH,
    TOLERANCE,
    TRANSFORMER,
    inputs,
    read,
    refused,
)
from tests.support.end_to_end.server_process import EXAMPLES, ServerProcess, run_zoo

Client = triton.InferenceServerClient


# ── what is there ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_triton_client_sees_server_live_and_ready(client: Client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    for model in (CNN, RNN, TRANSFORMER):
        assert client.is_model_ready(model)
        assert client.is_model_ready(model, "1")
        assert client.is_model_ready(model, "stable")
    assert not client.is_model_ready("no_such_model")
    assert not client.is_model_ready(CNN, "7")


def test_only_supported_extensions_are_advertised(client: Client) -> None:
    metadata = client.get_server_metadata()
    assert metadata.name == "zoo"
    assert metadata.version
    assert set(metadata.extensions) == {
        "classification",
        "model_repository",
        "model_configuration",
        "binary_tensor_data",
        "parameters",
        "statistics",
        "trace",
        "logging",
    }


SIGNATURES = {
    CNN: ([("pixel_values", "FP32", [-1, 3, 224, 224])], [("logits", "FP32", [-1, 1000])]),
    RNN: ([("samples", "FP32", [-1, -1])], [("probabilities", "FP32", [-1, -1]), ("frames", "INT64", [-1, 1])]),
    TRANSFORMER: ([("text", "BYTES", [-1, 1])], [("embedding", "FP32", [-1, 384])]),
}


@pytest.mark.parametrize("model", SIGNATURES)
def test_metadata_lists_the_tensors_of_a_model(client: Client, model: str) -> None:
    metadata = client.get_model_metadata(model)
    taken, given = SIGNATURES[model]
    assert (metadata.name, list(metadata.versions), metadata.platform) == (model, ["1"], "pytorch")
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in metadata.inputs] == taken
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in metadata.outputs] == given
    assert client.get_model_metadata(model, as_json=True)["name"] == model


@pytest.mark.parametrize("model", SIGNATURES)
def test_config_has_dims_without_batch_and_batching(client: Client, model: str) -> None:
    config = client.get_model_config(model).config
    taken, given = SIGNATURES[model]
    assert (config.name, config.backend) == (model, "zoo")
    assert config.max_batch_size in {CNN: (8, 32), RNN: (8,), TRANSFORMER: (16, 32)}[model]  # on a CPU, on a GPU
    assert [(tensor.name, list(tensor.dims)) for tensor in config.input] == [(n, s[1:]) for n, _, s in taken]
    assert [(tensor.name, list(tensor.dims)) for tensor in config.output] == [(n, s[1:]) for n, _, s in given]
    assert config.HasField("dynamic_batching")
    assert not config.HasField("sequence_batching")
    assert not config.model_transaction_policy.decoupled


def test_metadata_of_unknown_model_or_version_is_not_found(client: Client) -> None:
    for ask in (client.get_model_metadata, client.get_model_config, client.get_inference_statistics):
        refusal = refused(lambda ask=ask: ask("efficientnet_lite"))
        assert refusal.code == "NOT_FOUND"
        assert refusal.message == f"unknown model 'efficientnet_lite'; did you mean '{CNN}' or 'efficientnet_lite2'?"
        assert refused(lambda ask=ask: ask(CNN, "2")).code == "NOT_FOUND"


def test_unsupported_extension_is_unimplemented(client: Client) -> None:
    for call in (
        client.get_system_shared_memory_status,
        client.get_cuda_shared_memory_status,
        lambda: client.register_system_shared_memory("region", "key", 64),
    ):
        assert refused(call).code == "UNIMPLEMENTED"


# ── inference ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_encoded_photo_of_a_cat_is_classified_as_cat(client: Client) -> None:
    result = client.infer(CNN, inputs(image=[CAT]), request_id="photo 1")
    logits = result.as_numpy("logits")
    assert (logits.shape, logits.dtype) == ((1, 1000), np.float32)
    assert int(logits.argmax()) in (281, 282, 285)  # tabby, tiger cat, Egyptian cat
    response = result.get_response()
    assert (response.model_name, response.model_version, response.id) == (CNN, "1", "photo 1")


def test_predict_command_gives_the_same_labels_and_scores(client: Client, server: ServerProcess) -> None:
    ended = run_zoo("predict", CNN, EXAMPLES / "cat.jpg", "--json", "--server", server.target)
    assert ended.returncode == 0, ended.stderr
    labels = json.loads(ended.stdout)["labels"]
    result = client.infer(CNN, inputs(image=[CAT]))
    logits = result.as_numpy("logits")[0].astype(np.float64)
    scores = np.exp(logits - logits.max())
    scores /= scores.sum()
    best = np.argsort(-scores)[:5].tolist()
    assert best == [label["index"] for label in labels]
    np.testing.assert_allclose(scores[best], [label["score"] for label in labels], atol=TOLERANCE[CNN])
    ask = triton.InferRequestedOutput("logits", class_count=5)
    classes = client.infer(CNN, inputs(image=[CAT]), outputs=[ask]).as_numpy("logits")[0]
    assert [entry.decode().split(":", 2)[2] for entry in classes] == [label["name"] for label in labels]
    assert labels[0]["name"] in CATS


def test_classification_extension_returns_the_best_labels(client: Client) -> None:
    ask = triton.InferRequestedOutput("logits", class_count=3)
    result = client.infer(CNN, inputs(image=[CAT, (EXAMPLES / "coffee.jpg").read_bytes()]), outputs=[ask])
    classes = result.as_numpy("logits")
    assert (classes.shape, classes.dtype) == ((2, 3), np.object_)
    logits = client.infer(CNN, inputs(image=[CAT])).as_numpy("logits")[0]
    for entry in classes[0]:
        score, index, label = entry.decode().split(":", 2)
        assert float(score) == pytest.approx(logits[int(index)], abs=TOLERANCE[CNN])
        assert label
    assert classes[0][0].decode().split(":", 2)[2] in CATS
    assert classes[1][0].decode().endswith(":espresso")


def test_texts_have_embeddings(client: Client) -> None:
    texts = [b"A cat sleeps on the sofa.", b"A kitten naps on the couch.", b"Stocks fell sharply."]
    vectors = client.infer(TRANSFORMER, inputs(text=texts)).as_numpy("embedding")
    assert (vectors.shape, vectors.dtype) == ((3, 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > 0.2 > vectors[0] @ vectors[2]


def test_texts_are_accepted_as_vector_or_column(client: Client) -> None:
    flat = triton.InferInput("text", [2], "BYTES")
    flat.set_data_from_numpy(np.array([b"one", b"two words"], np.object_))
    column = inputs(text=[b"one", b"two words"])
    np.testing.assert_allclose(
        client.infer(TRANSFORMER, [flat]).as_numpy("embedding"),
        client.infer(TRANSFORMER, column).as_numpy("embedding"),
        atol=TOLERANCE[TRANSFORMER],
    )


def test_token_tensors_are_accepted_instead_of_text(client: Client) -> None:
    ids = np.array([[101, 1037, 2158, 2003, 2652, 1037, 2858, 1012, 102]], np.int64)  # a man is playing a guitar.
    tokens = client.infer(TRANSFORMER, inputs(input_ids=ids, attention_mask=np.ones_like(ids)))
    text = client.infer(TRANSFORMER, inputs(text=[b"A man is playing a guitar."]))
    np.testing.assert_allclose(tokens.as_numpy("embedding"), text.as_numpy("embedding"), atol=TOLERANCE[TRANSFORMER])


def test_encoded_sound_gives_speech_and_noise_gives_none(client: Client, sample: dict[str, bytes]) -> None:
    result = client.infer(RNN, inputs(audio=[SPEECH, sample["noise.wav"]]))
    probabilities, frames = result.as_numpy("probabilities"), result.as_numpy("frames")
    assert (probabilities.dtype, frames.dtype) == (np.float32, np.int64)
    assert frames.shape == (2, 1)
    assert probabilities.shape == (2, frames.max())
    speech, noise = (probabilities[i, : frames[i, 0]] for i in range(2))
    assert (speech > 0.5).mean() > 0.5
    assert not (noise > 0.5).any()


def test_sound_is_accepted_as_tensor(client: Client) -> None:
    result = client.infer(RNN, inputs(samples=np.zeros((3, 1000), np.float32)))
    assert result.as_numpy("frames").tolist() == [[2], [2], [2]]
    assert result.as_numpy("probabilities").shape == (3, 2)
    assert (result.as_numpy("probabilities") < 0.5).all()


def test_requested_outputs_are_returned_in_their_order(client: Client) -> None:
    taken = inputs(samples=np.zeros((1, 512), np.float32))
    only = client.infer(RNN, taken, outputs=[triton.InferRequestedOutput("frames")])
    assert [output.name for output in only.get_response().outputs] == ["frames"]
    assert only.as_numpy("probabilities") is None
    both = [triton.InferRequestedOutput("frames"), triton.InferRequestedOutput("probabilities")]
    assert [o.name for o in client.infer(RNN, taken, outputs=both).get_response().outputs] == [
        "frames",
        "probabilities",
    ]


@pytest.mark.parametrize("version", ["", "1", "stable"])
def test_reply_has_the_version_number(client: Client, version: str) -> None:
    result = client.infer(TRANSFORMER, inputs(text=[b"hello"]), model_version=version)
    assert result.get_response().model_version == "1"


def test_forty_rows_of_pixels_are_answered_in_order(client: Client) -> None:
    rows = np.random.default_rng(1).standard_normal((40, 3, 224, 224)).astype(np.float32)
    together = client.infer(CNN, inputs(pixel_values=rows)).as_numpy("logits")
    assert together.shape == (40, 1000)
    for i in (0, 31, 32, 39):
        alone = client.infer(CNN, inputs(pixel_values=rows[i : i + 1])).as_numpy("logits")
        np.testing.assert_allclose(together[i], alone[0], atol=TOLERANCE[CNN])


def test_hundred_texts_are_answered_in_order(client: Client) -> None:
    texts = [f"sentence number {i}{' and so on' * (i % 9)}".encode() for i in range(100)]
    together = client.infer(TRANSFORMER, inputs(text=texts)).as_numpy("embedding")
    assert together.shape == (100, 384)
    for i in (0, 31, 32, 63, 64, 99):
        alone = client.infer(TRANSFORMER, inputs(text=[texts[i]])).as_numpy("embedding")
        np.testing.assert_allclose(together[i], alone[0], atol=TOLERANCE[TRANSFORMER])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_numbers_do_not_affect_their_batch(client: Client, value: float) -> None:
    rows = np.zeros((2, 3, 224, 224), np.float32)
    alone = client.infer(CNN, inputs(pixel_values=rows[:1])).as_numpy("logits")
    rows[0] = value
    both = client.infer(CNN, inputs(pixel_values=rows)).as_numpy("logits")
    assert both.shape == (2, 1000)
    np.testing.assert_allclose(both[1], alone[0], atol=TOLERANCE[CNN])


@pytest.mark.parametrize("odd", ["cmyk.jpg", "16-bit.png", "palette.png", "lying.jpg"])
def test_unusual_triton_image_of_a_cat_is_classified_as_cat(client: Client, sample: dict[str, bytes], odd: str) -> None:
    ask = triton.InferRequestedOutput("logits", class_count=1)
    [[best]] = client.infer(CNN, inputs(image=[sample[odd]]), outputs=[ask]).as_numpy("logits")
    assert best.decode().split(":", 2)[2] in CATS


def test_long_triton_text_is_truncated_with_a_note(client: Client) -> None:
    result = client.infer(TRANSFORMER, inputs(text=[b"the cat sat on the mat " * 4348]))
    parameters = result.get_response().parameters
    assert parameters["truncated"].bool_param is True
    assert parameters["tokens"].int64_param == 256
    assert parameters["characters"].int64_param == 100_004
    assert result.as_numpy("embedding").shape == (1, 384)


def test_compressed_messages_are_accepted(client: Client) -> None:
    result = client.infer(TRANSFORMER, inputs(text=[b"hello " * 100]), compression_algorithm="gzip")
    assert result.as_numpy("embedding").shape == (1, 384)


def test_empty_final_response_parameter_of_the_cpp_client_is_accepted(client: Client) -> None:
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name=TRANSFORMER)
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    request.inputs.add(name="text", datatype="BYTES", shape=[1, 1])
    request.raw_input_contents.append(b"\x02\0\0\0hi")
    assert client._client_stub.ModelInfer(request).outputs[0].name == "embedding"


def test_async_infer_call_is_answered(client: Client) -> None:
    came, box = threading.Event(), list[Any]()

    def callback(result: Any, error: Any) -> None:
        box.extend((result, error))
        came.set()

    client.async_infer(TRANSFORMER, inputs(text=[b"hello"]), callback, request_id="later")
    assert came.wait(60)
    assert box[1] is None
    assert box[0].get_response().id == "later"


# ── too late ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_timeout_in_microseconds_sets_the_deadline(client: Client) -> None:
    refusal = refused(lambda: client.infer(TRANSFORMER, inputs(text=[b"hello"]), timeout=1))
    assert refusal.code == "DEADLINE_EXCEEDED"
    assert client.infer(TRANSFORMER, inputs(text=[b"hello"]), timeout=60_000_000).as_numpy("embedding").shape == (
        1,
        384,
    )


def test_client_timeout_sets_the_deadline(client: Client) -> None:
    four_minutes = np.zeros((1, 240 * 16_000), np.float32)
    refusal = refused(lambda: client.infer(RNN, inputs(samples=four_minutes), client_timeout=0.05))
    assert refusal.code == "DEADLINE_EXCEEDED"
    assert client.infer(RNN, inputs(samples=four_minutes[:, :512])).as_numpy("frames").tolist() == [[1]]


def test_cancelled_call_ends_as_cancelled(client: Client) -> None:
    came, box = threading.Event(), list[Any]()

    def callback(result: Any, error: Any) -> None:
        box.append(error)
        came.set()

    context = client.async_infer(RNN, inputs(samples=np.zeros((1, 240 * 16_000), np.float32)), callback)
    context.cancel()
    assert came.wait(60)
    assert read(box[0]).code == "CANCELLED"


# ── honest counts, and the repository ─────────────────────────────────────────────────────────────────────────────


def statistics(client: Client, model: str) -> Any:
    [found] = client.get_inference_statistics(model).model_stats
    return found


def test_statistics_count_requests_and_batches(client: Client) -> None:
    before = statistics(client, TRANSFORMER)
    for rows in (1, 1, 3, 40):
        client.infer(TRANSFORMER, inputs(text=[b"count me"] * rows))
    refused(lambda: client.infer(TRANSFORMER, inputs(text=[b""])))
    after = statistics(client, TRANSFORMER)
    assert (after.name, after.version) == (TRANSFORMER, "1")
    assert after.inference_stats.success.count - before.inference_stats.success.count == 4
    assert after.inference_stats.fail.count - before.inference_stats.fail.count == 1
    assert after.inference_count - before.inference_count == 45
    assert after.last_inference > before.last_inference
    for part in ("queue", "compute_input", "compute_infer", "compute_output"):
        was, now = getattr(before.inference_stats, part), getattr(after.inference_stats, part)
        assert now.count - was.count == 4
        assert now.ns >= was.ns
    sizes = {b.batch_size: b.compute_infer.count for b in after.batch_stats}
    for batch in before.batch_stats:
        sizes[batch.batch_size] -= batch.compute_infer.count
    assert sum(size * count for size, count in sizes.items()) == 45
    assert sum(sizes.values()) == after.execution_count - before.execution_count
    assert all(size <= 32 for size in sizes)
    assert after.memory_usage[0].type == "CPU"


def test_statistics_without_name_cover_all_models(client: Client) -> None:
    assert {stats.name for stats in client.get_inference_statistics().model_stats} >= {CNN, RNN, TRANSFORMER}


def test_repository_index_lists_the_catalog(client: Client) -> None:
    index = {model.name: model for model in client.get_model_repository_index().models}
    for name in (CNN, RNN, TRANSFORMER):
        assert (index[name].version, index[name].state, index[name].reason) == ("1", "READY", "")


def test_triton_client_unloads_and_loads_a_model(client: Client) -> None:
    client.unload_model(RNN)
    try:
        assert not client.is_model_ready(RNN)
        index = {model.name: model for model in client.get_model_repository_index().models}
        assert (index[RNN].version, index[RNN].state, index[RNN].reason) == ("", "UNAVAILABLE", "unloaded")
        refusal = refused(lambda: client.infer(RNN, inputs(samples=np.zeros((1, 512), np.float32))))
        assert (refusal.code, refusal.message) == ("UNAVAILABLE", "model 'silero_vad' is unavailable: unloaded")
        assert client.infer(TRANSFORMER, inputs(text=[b"hello"])).as_numpy("embedding").shape == (1, 384)
    finally:
        client.load_model(RNN)
    assert client.is_model_ready(RNN)
    assert client.infer(RNN, inputs(samples=np.zeros((1, 512), np.float32))).as_numpy("frames").tolist() == [[1]]


def test_triton_load_with_another_config_is_rejected(client: Client) -> None:
    refusal = refused(lambda: client.load_model(RNN, config='{"max_batch_size": 4}'))
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.message.startswith("parameters[config]: ")
    assert refused(lambda: client.load_model("nothing_like_it")).code == "NOT_FOUND"
