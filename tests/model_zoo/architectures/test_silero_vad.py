"""The speech network with random weights: causal, independent of padding, bounded in memory."""

import pytest
import torch

from model_zoo.architectures import silero_vad
from model_zoo.architectures.silero_vad import FRAME_SAMPLES, SileroVad

State = dict[str, torch.Tensor]


@pytest.fixture
def network(tiny_state: State) -> SileroVad:
    made = SileroVad()
    # Small weights: saturated probabilities would hide a difference.
    made.load_state_dict({name: value * 0.05 for name, value in tiny_state.items()})
    return made.eval().requires_grad_(False)


def noise(rows: int, frames: int) -> torch.Tensor:
    return torch.randn(rows, frames * FRAME_SAMPLES, generator=torch.Generator().manual_seed(1)) * 0.1


def test_output_has_one_probability_per_frame(network: SileroVad) -> None:
    answer = network(noise(3, 5))
    assert answer.shape == (3, 5)
    assert ((answer > 0) & (answer < 1)).all()


def test_later_frames_do_not_change_earlier_probabilities(network: SileroVad) -> None:
    audio = noise(2, 12)
    altered = audio.clone()
    altered[:, 7 * FRAME_SAMPLES :] = 0.9
    torch.testing.assert_close(network(audio)[:, :7], network(altered)[:, :7], atol=1e-6, rtol=0)
    assert not torch.allclose(network(audio)[:, 7:], network(altered)[:, 7:], atol=1e-6)


def test_padded_batch_equals_single_rows(network: SileroVad) -> None:
    batch = torch.zeros(2, 9 * FRAME_SAMPLES)
    batch[0] = noise(1, 9)[0]
    batch[1, : 4 * FRAME_SAMPLES] = noise(1, 4)[0]
    alone = network(batch[1:, : 4 * FRAME_SAMPLES])
    torch.testing.assert_close(network(batch)[1:, :4], alone, atol=1e-6, rtol=0)


def test_long_audio_encoded_in_chunks_equals_one_pass(network: SileroVad, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = noise(2, 23)
    at_once = network(audio)
    seen: list[int] = []
    encode = network._encode
    monkeypatch.setattr(silero_vad, "_ENCODED_AT_ONCE", 10)
    monkeypatch.setattr(
        network, "_encode", lambda frames: seen.append(frames.shape[0] * frames.shape[1]) or encode(frames)
    )
    torch.testing.assert_close(network(audio), at_once, atol=1e-6, rtol=0)
    assert max(seen) == 10


@pytest.mark.parametrize("samples", [0, 1, 511, 513])
def test_samples_of_partial_frames_are_rejected(network: SileroVad, samples: int) -> None:
    with pytest.raises(ValueError, match="whole frames of 512"):
        network(torch.zeros(1, samples))
