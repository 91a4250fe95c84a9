"""Bookkeeping of one StreamPredict: replies come as they complete, results leave in the order of inputs.

Each input rides in a request of its own, whose `request_id` is its place. `sent` and `failed` belong to whoever feeds
the stream, `settle`, `take` and `rest` to whoever reads it; the two may be different threads, since each place in the
book is written once and by one side.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.client.errors import PredictionError, ZooClientError, as_prediction_error, prediction_error
from service.client.results import Outcome, read_response
from service.pb import prediction_pb2 as pb

IN_FLIGHT = 32
"""Requests sent and not yet answered: enough for a batch to fill while another runs, few enough to hold in memory."""


class StreamBook:
    """Which inputs were sent, which are answered, and which is to be given out next."""

    def __init__(self) -> None:
        self._outcomes: dict[int, Outcome] = {}
        self._entered = 0
        self._taken = 0

    def sent(self, request: pb.PredictRequest) -> pb.StreamPredictRequest:
        """Enters the next input, as the message that carries it."""
        request.request_id = str(self._entered)
        self._entered += 1
        return pb.StreamPredictRequest(request=request)

    def failed(self, error: ZooClientError) -> None:
        """Enters the next input as one that could not be sent."""
        self._outcomes[self._entered] = as_prediction_error(error, self._entered)
        self._entered += 1

    def settle(self, reply: pb.StreamPredictResponse) -> None:
        """Files a reply under the input it belongs to."""
        request_id = reply.request_id
        index = int(request_id) if request_id.isdecimal() and request_id.isascii() else -1
        if not self._taken <= index < self._entered or index in self._outcomes:
            text = f"the server answered request {request_id!r} on the stream, which is not waiting for an answer"
            raise ZooClientError(text, code="INTERNAL")
        if reply.WhichOneof("outcome") == "response":
            [self._outcomes[index]] = read_response(reply.response, expected=1, first=index)
        else:
            self._outcomes[index] = prediction_error(reply.error, index)

    def take(self) -> Iterator[Outcome]:
        """Outcomes that nothing before them still holds back."""
        while self._taken in self._outcomes:
            outcome = self._outcomes.pop(self._taken)
            self._taken += 1
            yield outcome

    def rest(self) -> Iterator[Outcome]:
        """What is left once the stream has ended; an input without an answer is told so."""
        for index in range(self._taken, self._entered):
            text = "the server ended the stream without an answer to this input"
            self._outcomes.setdefault(index, as_prediction_error(PredictionError(text, code="UNKNOWN"), index))
        yield from self.take()
