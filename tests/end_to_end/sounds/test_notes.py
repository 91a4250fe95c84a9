"""Notes of music from a real server: by the SDK, the command line and the Open Inference Protocol, and what is no music."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from model_zoo.golden.tones import Tones, plucked
from service.client import Client, NoteEvents
from service.pb import models_pb2
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess
from tests.support.end_to_end.stubs import Stubs, ask, expect_error, infer, outputs
from tests.support.tasks.sounds import encoded

NAME = "basic_pitch"
MELODY = Tones(chords=((60,), (64, 67), (69,), ()), seconds=0.6, decay=1.0, harmonics=1)


@pytest.fixture(scope="module", autouse=True)
def loaded(stubs: Stubs) -> Iterator[None]:
    stubs.models.LoadModel(models_pb2.LoadModelRequest(name=NAME), timeout=TIMEOUT_S)
    yield
    stubs.models.UnloadModel(models_pb2.UnloadModelRequest(name=NAME), timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def song() -> bytes:
    return encoded(plucked(MELODY, 44_100), 44_100, "FLAC")


def test_melody_over_two_windows_is_heard_with_times_and_names(server: ServerProcess, song: bytes) -> None:
    with Client(server.target) as client:
        [music, silence] = client.predict(NAME, [song, encoded(np.zeros(9000, np.float32), 16_000, "WAV")])
    assert isinstance(music, NoteEvents)
    heard = sorted((round(one.start_s, 1), one.name) for one in music.events)
    assert heard == [(0.0, "C4"), (0.6, "E4"), (0.6, "G4"), (1.2, "A4")]
    assert music.midi.startswith(b"MThd")
    assert isinstance(silence, NoteEvents)
    assert (silence.events, silence.duration_s) == ((), pytest.approx(0.5625, abs=1e-4))


def test_command_draws_a_piano_roll_and_writes_midi_beside_it(
    server: ServerProcess, song: bytes, tmp_path: Path
) -> None:
    (tmp_path / "song.flac").write_bytes(song)
    ended = run_preloaded(
        "predict", NAME, tmp_path / "song.flac", "--draw", tmp_path / "out", "--server", server.target
    )
    assert ended.returncode == 0, ended.stderr
    assert "A4" in ended.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["song-notes.mid", "song-notes.png"]


def test_model_passes_its_golden_cases_over_the_wire(server: ServerProcess) -> None:
    ended = run_preloaded("verify", NAME, "--server", server.target)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_what_is_no_music_fails_alone(stubs: Stubs, song: bytes) -> None:
    long = encoded(np.zeros(601_000, np.float32), 1000, "FLAC")
    given = [{"audio": b""}, {"audio": b"MThd"}, {"audio": song}, {"text": "la la"}, {"audio": long}]
    found = stubs.predict(ask(NAME, *given)).predictions
    assert [one.WhichOneof("result") for one in found] == ["error", "error", "note_events", "error", "error"]
    assert found[4].error.message == "instances[4]: expected at most 600 seconds of sound, got 601"


def test_open_inference_gives_the_frames_of_the_whole_recording(stubs: Stubs, song: bytes) -> None:
    whole = outputs(stubs.infer(infer(NAME, audio=[song])))
    frames = whole["notes"].shape[1]
    assert frames * 256 / 22_050 == pytest.approx(2.4, abs=0.05)
    assert {name: array.shape for name, array in whole.items()} == {
        "onsets": (1, frames, 88),
        "notes": (1, frames, 88),
        "contours": (1, frames, 264),
    }
    window = np.full((1, 43_844, 1), np.nan, np.float32)
    assert outputs(stubs.infer(infer(NAME, samples=np.zeros_like(window))))["notes"].shape == (1, 172, 88)
    refusal = expect_error(lambda: stubs.infer(infer(NAME, samples=window)))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "inputs[0][0].samples")
    refusal = expect_error(lambda: stubs.predict(ask(NAME, {"audio": song}, threshold=0.01)))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "options.threshold")
