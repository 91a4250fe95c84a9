"""Options of a prediction."""

from service.client.inputs.options import PredictOptions


def test_zero_options_are_sent_and_omitted_options_are_not() -> None:
    given = PredictOptions(max_new_tokens=5, temperature=0.0, seed=0).message()
    assert given.HasField("temperature")
    assert given.HasField("seed")
    assert (given.max_new_tokens, given.temperature, given.seed) == (5, 0.0, 0)
    omitted = PredictOptions().message()
    assert not any(omitted.HasField(name) for name in ("max_new_tokens", "temperature", "seed"))
