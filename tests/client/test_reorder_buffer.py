"""Requests and results of a stream."""

import pytest

from service.client import ZooClientError
from service.client.reorder_buffer import ReorderBuffer
from service.pb import prediction_pb2 as pb


@pytest.mark.parametrize("request_id", ["1", "7", "-1", "", "abc", "²"])
def test_reply_to_an_unknown_request_is_rejected(request_id: str) -> None:
    buffer = ReorderBuffer()
    buffer.add_request(pb.PredictRequest())
    with pytest.raises(ZooClientError, match="not waiting for an answer"):
        buffer.add_reply(pb.StreamPredictResponse(request_id=request_id))
