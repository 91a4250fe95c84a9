"""Networks that read sounds are pulled by reference and served, for recordings and for tensors, over both protocols.

A network that reads videos is beside them, on the same server."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import soundfile
import torch
import transformers

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import golden_path
from model_zoo.references.reference import parse_reference
from model_zoo.store import Store
from service.client import Client, Shots, Transcript
from service.pb import prediction_pb2
from service.references.library_answers import answer
from service.references.pull import pull_reference
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import ServerProcess
from tests.support.end_to_end.stubs import Stubs, ask, expect_error, infer, outputs, stubs_of, tensors
from tests.support.model_zoo.home_cards import write_card
from tests.support.references.tiny_sounds import ctc, wav2vec2, whisper
from tests.support.tasks.videos import sound_in_mp4, video, without_frames

RATE = 16_000
SPEECH = golden_path("speech.flac").read_bytes()
MODELS = ("tiny_sound", "tiny_listener")


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(int(seconds * RATE)) * 0.1).astype(np.float32)


def samples(values: np.ndarray, rate: int = RATE) -> dict[str, Any]:
    return {"samples": prediction_pb2.AudioSamples(sample_rate_hertz=rate, values=values.tolist())}


def wav(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, values, RATE, format="WAV", subtype="FLOAT")
    return file.getvalue()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("repositories")
    for name in (*MODELS, "tiny_whisper"):
        (root / name).mkdir()
    return {
        "tiny_sound": wav2vec2(root / "tiny_sound"),
        "tiny_listener": ctc(root / "tiny_listener"),
        "tiny_whisper": whisper(root / "tiny_whisper"),
    }


@pytest.fixture(scope="module")
def server(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The networks are pulled in this process, since processes of their own take minutes on a busy machine."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
        for folder in folders.values():
            pull_reference(parse_reference(f"local:{folder}"), home)
    video_card(home)
    wanted = [word for name in (*folders, "tiny_video") for word in ("--model", name)]
    with ServerProcess(*wanted, ZOO_HOME=str(home)) as server:
        server.ready()
        yield server


@pytest.fixture(scope="module")
def pulled(server: ServerProcess) -> Iterator[Stubs]:
    with stubs_of(server.ready()) as stubs:
        yield stubs


def video_card(home: Path) -> None:
    """The card of a small network with random weights, for videos of at most 120 frames of 10,000 pixels."""
    known = Catalog.from_package().get("transnetv2")
    path = write_card(
        home,
        "tiny_video",
        "transnetv2",
        source={"kind": "card"},
        weights={"format": "safetensors", "mapping": "by_name"},
        architecture={"builder": "transnetv2", "arguments": {"filters": 1, "blocks": 1, "width": 8, "compared": 4}},
        recipe={**known.recipe.model_dump(mode="json"), "max_frames": 120, "max_pixels": 10_000},
        golden=[],
    )
    Store(home / "weights").materialise(Card.model_validate_json(path.read_text("utf-8")))


def pipeline_of(task: str, folder: Path) -> Any:
    pipeline: Any = transformers.pipeline
    return pipeline(task, model=str(folder), device="cpu", dtype=torch.float32)


def test_sounds_get_the_probabilities_of_the_pipeline(pulled: Stubs, folders: dict[str, Path]) -> None:
    sound = noise(1.3, 2)
    expected = {one["label"]: one["score"] for one in pipeline_of("audio-classification", folders["tiny_sound"])(sound)}
    for instance in (samples(sound), {"audio": wav(sound)}):
        (found,) = pulled.predict(ask("tiny_sound", instance)).predictions
        scores = {label.name: label.score for label in found.classification.labels}
        assert scores == pytest.approx(expected, abs=1e-4)


def test_recordings_get_the_transcript_of_the_pipeline(pulled: Stubs, folders: dict[str, Path]) -> None:
    pipe = pipeline_of("automatic-speech-recognition", folders["tiny_listener"])
    short, long = noise(2.0, 3), noise(40.0, 4)
    first, second = pulled.predict(ask("tiny_listener", samples(short), {"audio": wav(long)})).predictions
    assert first.transcript.text == pipe(short)["text"]
    assert second.transcript.text == pipe(long, chunk_length_s=30, stride_length_s=5)["text"]
    assert [chunk.text for chunk in first.transcript.chunks] == first.transcript.text.split()


def test_raw_recordings_over_open_inference_get_all_frames(pulled: Stubs) -> None:
    found = outputs(pulled.infer(infer("tiny_listener", audio=[SPEECH, wav(noise(40.0, 4))])))
    frames = found["frames"].ravel().tolist()
    assert frames[1] == pytest.approx(40 * 125, abs=2)
    assert found["logits"].shape[:2] == (2, max(frames))
    reply = pulled.predict(ask("tiny_listener", {"audio": SPEECH}, include_tensors=True))
    logits = reply.predictions[0].outputs.tensors["logits"]
    alone = np.frombuffer(logits.data, np.float32).reshape(tuple(logits.shape))
    np.testing.assert_allclose(found["logits"][0, : frames[0]], alone, atol=1e-2)


@pytest.mark.parametrize("model", MODELS)
def test_tensors_under_a_mask_equal_those_without_padding(pulled: Stubs, model: str) -> None:
    values = np.stack([noise(1.0, 5), np.pad(noise(0.5, 6), (0, RATE // 2))])
    mask = np.stack([np.ones(RATE, np.int64), (np.arange(RATE) < RATE // 2).astype(np.int64)])
    together = outputs(pulled.infer(infer(model, input_values=values, attention_mask=mask)))["logits"]
    half = slice(0, RATE // 2)
    bare = infer(model, input_values=values[1:, half], attention_mask=mask[1:, half])
    alone = outputs(pulled.infer(bare))["logits"]
    np.testing.assert_allclose(together[1][: alone.shape[1]], alone[0], atol=1e-2)


def test_callers_at_once_get_their_own_transcripts(pulled: Stubs) -> None:
    def transcript(sound: np.ndarray) -> str:
        return str(pulled.predict(ask("tiny_listener", samples(sound))).predictions[0].transcript.text)

    sounds = [noise(seconds, seed) for seed, seconds in enumerate((0.3, 1.0, 2.2, 31.0))]
    alone = [transcript(sound) for sound in sounds]
    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(transcript, sounds * 4)) == alone * 4


def test_sdk_and_command_show_the_transcript(server: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "speech.flac"
    file.write_bytes(SPEECH)
    with Client(server.target) as client:
        (found,) = client.predict("tiny_listener", file)
    assert isinstance(found, Transcript)
    assert found.chunks[0].end_s > found.chunks[0].start_s >= 0.0
    shown = run_preloaded("predict", "tiny_listener", str(file), "--json", "--server", server.target)
    assert shown.returncode == 0, shown.stderr
    line = json.loads(shown.stdout)
    assert line["text"] == found.text
    assert line["chunks"][0] == {
        "text": found.chunks[0].text,
        "start_s": found.chunks[0].start_s,
        "end_s": found.chunks[0].end_s,
    }
    table = run_preloaded("predict", "tiny_listener", str(file), "--server", server.target)
    assert found.chunks[0].text[:6] in table.stdout


def test_windows_are_transcribed_for_callers_at_once_and_over_both_protocols(pulled: Stubs) -> None:
    sounds = [noise(seconds, seed) for seed, seconds in enumerate((0.0001, 0.5, 3.0, 5.0))]
    alone = [pulled.predict(ask("tiny_whisper", samples(sound))).predictions[0].transcript for sound in sounds]
    together = pulled.predict(ask("tiny_whisper", *(samples(sound) for sound in sounds), include_tensors=True))
    assert [one.transcript for one in together.predictions] == alone
    assert alone[3].chunks[-1].end.ToSeconds() >= 4
    found = outputs(pulled.infer(infer("tiny_whisper", audio=[wav(sounds[3])])))["output_ids"][0]
    tensor = together.predictions[3].outputs.tensors["output_ids"]
    assert found.tolist() == np.frombuffer(tensor.data, np.int64).tolist()


def test_wrong_windows_are_refused(pulled: Stubs) -> None:
    for instance in ({"audio": b""}, {"audio": b"no sound"}, {"text": "words"}, samples(np.zeros(0, np.float32))):
        error = expect_error(lambda instance=instance: pulled.predict(ask("tiny_whisper", instance)))
        assert (error.code, error.field) == ("INVALID_ARGUMENT", "instances[0]")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("instance", "says"),
    [
        ({"audio": b""}, "is empty"),
        ({"audio": b"no sound at all"}, "expected a WAV, FLAC or OGG file"),
        ({"audio": SPEECH[:100]}, "damaged"),
        ({"audio": b"\xff\xd8\xff\xe0" + bytes(100)}, "expected a WAV, FLAC or OGG file"),
        ({"text": "words"}, "expected audio or tensors"),
        (samples(np.zeros(1, np.float32)), "expected at least"),
        (samples(np.zeros(0, np.float32)), "no samples"),
        (samples(np.zeros(100, np.float32), rate=0), "expected 1 to"),
        (samples(np.full(4000, np.inf, np.float32)), "instances[0]"),
        (tensors(input_values=np.zeros(500, np.float32)), "is missing"),
        (tensors(input_values=np.zeros(9, np.float32), attention_mask=np.ones(9, np.int64)), "at least 130"),
    ],
)
def test_wrong_input_is_refused_by_its_place(pulled: Stubs, model: str, instance: dict[str, Any], says: str) -> None:
    error = expect_error(lambda: pulled.predict(ask(model, instance)))
    assert (error.code, error.field.startswith("instances[0]")) == ("INVALID_ARGUMENT", True)
    assert says in f"{error.field}: {error.message}"


def test_recording_that_is_too_long_is_refused(pulled: Stubs) -> None:
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(601 * 8000, np.int16), 8000, format="FLAC")
    error = expect_error(lambda: pulled.predict(ask("tiny_listener", {"audio": silence.getvalue()})))
    assert "at most 600 seconds" in error.message
    error = expect_error(lambda: pulled.predict(ask("tiny_sound", {"audio": silence.getvalue()})))
    assert "at most 30 seconds" in error.message


def test_bad_recording_fails_alone(pulled: Stubs) -> None:
    good = samples(noise(1.0, 7))
    alone = pulled.predict(ask("tiny_listener", good)).predictions[0].transcript.text
    first, bad, last = pulled.predict(ask("tiny_listener", good, {"audio": b"no sound"}, good)).predictions
    assert (first.transcript.text, last.transcript.text) == (alone, alone)
    assert bad.WhichOneof("result") == "error"


# ── videos ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_videos_of_many_callers_get_what_each_gets_alone_over_both_protocols(
    server: ServerProcess, pulled: Stubs
) -> None:
    films = [video(30, 25), video(7), video(60, 60)]  # two windows, one, three
    with Client(server.target) as client, ThreadPoolExecutor(6) as callers:
        alone = [client.predict("tiny_video", film, threshold=0.5)[0] for film in films]
        found = list(callers.map(lambda film: client.predict("tiny_video", film, threshold=0.5)[0], films * 2))
    for one, other in zip(found, alone * 2, strict=True):
        assert isinstance(one, Shots)
        assert isinstance(other, Shots)
        assert len(one.probabilities) == one.frame_count
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
        assert one.shots == other.shots
    assert [one.frame_count for one in alone if isinstance(one, Shots)] == [55, 7, 120]
    raw = outputs(pulled.infer(infer("tiny_video", video=[films[0]])))
    assert isinstance(alone[0], Shots)
    np.testing.assert_allclose(raw["cuts"][0], alone[0].probabilities, atol=1e-5)
    assert raw["transitions"].shape == (1, 55)


def test_bad_video_fails_alone_and_says_why(pulled: Stubs) -> None:
    whole = video(6, 4)
    bad = {
        b"": "is empty",
        b"no video": "expected an MP4",
        SPEECH: "got a sound",
        golden_path("cat.jpg").read_bytes(): "got a picture",
        sound_in_mp4(): "holds no video",
        without_frames(): "has no frames",
        whole[: len(whole) // 2]: "damaged or truncated",
        video(121): "expected at most 120 frames, got 121",
        video(2, size=(1280, 720)): "expected at most 10,000 pixels a frame, got 1,280 × 720",
    }
    answers = pulled.predict(ask("tiny_video", {"video": whole}, *({"video": data} for data in bad), {"audio": SPEECH}))
    assert answers.predictions[0].shots.frame_count == 10
    for words, answer_ in zip([*bad.values(), "expected video or tensors"], answers.predictions[1:], strict=True):
        assert answer_.WhichOneof("result") == "error"
        assert answer_.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert words in answer_.error.message
    refusal = expect_error(lambda: pulled.infer(infer("tiny_video", video=[b"no video"])))
    assert refusal.code == "INVALID_ARGUMENT"
    refusal = expect_error(lambda: pulled.predict(ask("tiny_video", {"video": whole}, top_k=1)))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "options.top_k")


def test_command_writes_a_contact_sheet_for_each_video_of_a_folder(server: ServerProcess, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(video(6, 4))
    (tmp_path / "notes.txt").write_text("no video")
    ended = run_preloaded(
        *("predict", "tiny_video", str(tmp_path), "--threshold", "1", "--json"),
        *("--draw", str(tmp_path / "out"), "--server", server.target),
    )
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["shots"] for line in lines] == [
        [{"start_frame": 0, "end_frame": 9, "start_s": 0.0, "end_s": 0.4, "cut_score": None}]
    ] * 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-shots.png", "b-shots.png"]
