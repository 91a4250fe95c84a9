"""Requests and results of one StreamPredict: replies arrive as they complete, results leave in the order of the inputs.

Each input travels in a request of its own, whose `request_id` is the index of the input.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.client.errors import PredictionError, ZooClientError, as_prediction_error, prediction_error
from service.client.results import Outcome, read_response
from service.pb import prediction_pb2 as pb

IN_FLIGHT = 32
"""Default number of requests without a reply: enough to fill a batch while another runs, few enough to hold in memory."""


class ReorderBuffer:
    """Keeps each request until its reply, and each result until all earlier inputs have theirs.

    The side that sends calls `add_request`, `add_failure` and `unanswered`, the side that receives calls `add_reply`, `take`
    and `take_rest`. The sides may be different threads. Several threads that send need a lock for the first two.
    """

    def __init__(self) -> None:
        self._requests: dict[int, pb.StreamPredictRequest] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._added = 0
        self._taken = 0

    @property
    def added(self) -> int:
        """Number of inputs added, which is the index of the next."""
        return self._added

    @property
    def waiting(self) -> int:
        """Number of requests without a reply."""
        return len(self._requests)

    def add_request(self, request: pb.PredictRequest) -> None:
        """Adds the request of the next input."""
        request.request_id = str(self._added)
        self._requests[self._added] = pb.StreamPredictRequest(request=request)
        self._added += 1  # last, so that each index below it has its request

    def add_failure(self, error: ZooClientError) -> None:
        """Adds the next input, which cannot be sent because of `error`."""
        self._outcomes[self._added] = as_prediction_error(error, self._added)
        self._added += 1

    def unanswered(self, index: int) -> pb.StreamPredictRequest | None:
        """The request of an input; None if it has a reply or could not be sent."""
        return self._requests.get(index)

    def add_reply(self, reply: pb.StreamPredictResponse) -> None:
        """Adds a reply. Raises ZooClientError if no input waits for it."""
        request_id = reply.request_id
        index = int(request_id) if request_id.isdecimal() and request_id.isascii() else -1
        if not self._taken <= index < self._added or index in self._outcomes:
            text = f"the server answered request {request_id!r} on the stream, which is not waiting for an answer"
            raise ZooClientError(text, code="INTERNAL")
        if reply.WhichOneof("outcome") == "response":
            [self._outcomes[index]] = read_response(reply.response, expected=1, first=index)
        else:
            self._outcomes[index] = prediction_error(reply.error, index)
        self._requests.pop(index, None)

    def take(self) -> Iterator[Outcome]:
        """Removes and yields the results whose predecessors were all taken."""
        while self._taken in self._outcomes:
            outcome = self._outcomes.pop(self._taken)
            self._taken += 1
            yield outcome

    def take_rest(self) -> Iterator[Outcome]:
        """Removes and yields all results after the stream has ended. An input without a reply yields a PredictionError."""
        for index in range(self._taken, self._added):
            text = "the server ended the stream without an answer to this input"
            self._outcomes.setdefault(index, as_prediction_error(PredictionError(text, code="UNKNOWN"), index))
        yield from self.take()
