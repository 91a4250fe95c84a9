"""`attribute`: a photo's heat map points at the object of the label, and other attributions are refused."""

from __future__ import annotations

import numpy as np
import pytest

from service.client import Classification, Client, InvalidRequest, PredictionError
from tests.support.end_to_end.server_process import EXAMPLES, TIMEOUT_S, ServerProcess
from tests.support.end_to_end.stubs import CNN, TRANSFORMER

COFFEE = EXAMPLES / "coffee.jpg"


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Client:
    return Client(server.target)


def test_heat_map_is_warm_over_the_cup_and_the_answer_stays_the_same(client: Client) -> None:
    [plain] = client.predict(CNN, COFFEE)
    [answer, broken] = client.predict(CNN, [COFFEE, b"no image"], attribute=True, timeout=TIMEOUT_S)
    assert isinstance(plain, Classification)
    assert isinstance(answer, Classification)
    assert isinstance(broken, PredictionError)
    assert [label.name for label in answer.labels] == [label.name for label in plain.labels]
    assert plain.attribution is None
    assert answer.attribution is not None
    assert answer.attribution.label == answer.labels[0]
    heat_map = answer.attribution.heat_map
    assert heat_map is not None
    assert (heat_map.xmin, heat_map.ymin, heat_map.xmax, heat_map.ymax) == pytest.approx((125, 25, 475, 375), abs=2)
    cup = heat_map.weights[1:7, 2:9]
    assert cup.mean() > 3 * abs((heat_map.weights.sum() - cup.sum()) / (heat_map.weights.size - cup.size))


def test_attributions_that_do_not_exist_are_refused_by_name(client: Client) -> None:
    with pytest.raises(InvalidRequest, match=r"options\.attribute.*has no meaning for the task feature-extraction"):
        client.predict(TRANSFORMER, "a text", attribute=True)
    with pytest.raises(InvalidRequest, match="at most 8 in a request with attributions"):
        client.predict(CNN, [COFFEE] * 9, attribute=True)
    with pytest.raises((InvalidRequest, PredictionError), match="attributions of tensors"):
        client.predict(CNN, {"pixel_values": np.zeros((3, 224, 224), np.float32)}, attribute=True)
