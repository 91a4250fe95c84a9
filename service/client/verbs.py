"""The verbs of the SDK as plans: request built, reply read, no channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from service.client.errors import TimedOut, Unavailable
from service.client.inputs import Input, as_list, instance
from service.client.models import (
    ModelInfo,
    Option,
    ServerStatus,
    UnloadedModel,
    UpdatedModel,
    read_model,
    read_unloaded,
    read_updated,
    state_value,
    update_request,
)
from service.client.plan import Call, Plan
from service.client.results import Outcome, raise_if_all_failed, read_response
from service.pb import models_pb2, prediction_pb2

CALL_TIMEOUT_S = 60.0
"""For calls that compute or look up, all attempts together."""
LOAD_TIMEOUT_S = 1800.0
"""Loading may fetch the weights first, over a slow line."""
HEALTH_TIMEOUT_S = 5.0
"""A server that lives answers this in milliseconds."""


class Verbs:
    """Plans of all verbs, and what they remember: which input a model takes, asked once for each model."""

    def __init__(self) -> None:
        self._known: dict[str, ModelInfo] = {}

    def predict(
        self,
        model: str,
        inputs: Input | Sequence[Input],
        version: str,
        options: prediction_pb2.PredictOptions,
        timeout: float | None,
    ) -> Plan[list[Outcome]]:
        """One call about all inputs."""
        values = as_list(inputs)
        request = yield from self.request(model, values, version, options, timeout)
        response = yield Call(lambda stubs: stubs.prediction.Predict, request, timeout)
        outcomes = read_response(response, len(values))
        raise_if_all_failed(outcomes)
        return outcomes

    def request(
        self,
        model: str,
        values: Sequence[Input],
        version: str,
        options: prediction_pb2.PredictOptions,
        timeout: float | None,
    ) -> Plan[prediction_pb2.PredictRequest]:
        """The request about `values`, its files read."""
        instances: list[prediction_pb2.Instance] = []
        for value in values:
            instances += [(yield from instance(value, self._remembered(model, timeout)))]
        return prediction_pb2.PredictRequest(model=model, version=version, instances=instances, options=options)

    def page(
        self, token: str, family: str, task: str, state: str, timeout: float | None
    ) -> Plan[tuple[list[ModelInfo], str]]:
        """One page of models, and the token of the next or empty."""
        request = models_pb2.ListModelsRequest(page_token=token, family=family, task=task, state=state_value(state))
        reply = yield Call(lambda stubs: stubs.models.ListModels, request, timeout)
        return [read_model(model) for model in reply.models], reply.next_page_token

    def model(self, name: str, timeout: float | None) -> Plan[ModelInfo]:
        """One model with its labels."""
        request = models_pb2.GetModelRequest(name=name)
        return self._model_of(Call(lambda stubs: stubs.models.GetModel, request, timeout))

    def load(self, name: str, timeout: float | None) -> Plan[ModelInfo]:
        """Makes a model ready."""
        request = models_pb2.LoadModelRequest(name=name)
        return self._model_of(Call(lambda stubs: stubs.models.LoadModel, request, timeout))

    def unload(self, name: str, timeout: float | None) -> Plan[UnloadedModel]:
        """Takes a model out of service."""
        request = models_pb2.UnloadModelRequest(name=name)
        reply = yield Call(lambda stubs: stubs.models.UnloadModel, request, timeout)
        return read_unloaded(reply)

    def set_options(self, name: str, options: Mapping[str, Option | None], timeout: float | None) -> Plan[UpdatedModel]:
        """Changes options of a model."""
        reply = yield Call(lambda stubs: stubs.models.UpdateModel, update_request(name, options), timeout)
        return read_updated(reply)

    def ready(self, timeout: float | None) -> Plan[bool]:
        """Whether the server may serve; ServerUnreachable, at once, where none answers."""
        request: Message = health_pb2.HealthCheckRequest()
        reply = yield Call(lambda stubs: stubs.health.Check, request, timeout)
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    def status(self, timeout: float | None) -> Plan[ServerStatus]:
        """Live, ready and the models. A server that is not there is an answer too, not an error."""
        try:
            ready = yield from self.ready(timeout)
        except (Unavailable, TimedOut) as error:
            return ServerStatus(live=False, ready=False, problem=error.message)
        models: list[ModelInfo] = []
        token: str | None = ""
        try:
            while token is not None:
                page, following = yield from self.page(token, "", "", "", timeout)
                models += page
                token = following or None
        except Unavailable as error:  # it is going away, and still says so through its health
            return ServerStatus(live=True, ready=ready, models=tuple(models), problem=error.message)
        return ServerStatus(live=True, ready=ready, models=tuple(models))

    def _remembered(self, name: str, timeout: float | None) -> Plan[ModelInfo]:
        if name not in self._known:
            self._known[name] = yield from self.model(name, timeout)
        return self._known[name]

    @staticmethod
    def _model_of(call: Call) -> Plan[ModelInfo]:
        reply = yield call
        return read_model(reply.model)


def predict_options(
    top_k: int | None,
    threshold: float | None,
    include_tensors: bool,
    priority: int,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
) -> prediction_pb2.PredictOptions:
    """What the answer should hold; `None` leaves the task's own default, priority 0 the usual."""
    return prediction_pb2.PredictOptions(
        top_k=top_k,
        threshold=threshold,
        include_tensors=include_tensors,
        priority=priority,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
    )
