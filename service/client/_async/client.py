"""The public client."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from service.client._async.access import AsyncAccess
from service.client._async.connection import AsyncConnection
from service.client._async.datasets import AsyncDatasets
from service.client._async.fine_tuning import AsyncFineTuning
from service.client._async.input_encoder import AsyncInputEncoder
from service.client._async.jobs import AsyncJobs
from service.client._async.models import AsyncModels
from service.client._async.predictions import AsyncPredictions
from service.client._async.versions import STABLE, AsyncVersions
from service.client.access import Identity, NewToken, Token, TokenLimits
from service.client.channel import CALL_TIMEOUT_S, DEFAULT_TARGET, HEALTH_TIMEOUT_S, LOAD_TIMEOUT_S, Retry
from service.client.datasets import Columns, Dataset
from service.client.inputs.instances import Input
from service.client.inputs.options import KernelInput, PredictOptions
from service.client.jobs import Checkpoint, Job, JobEvent, job_request
from service.client.message_fields import build
from service.client.models import ModelInfo, Option, PulledModel, ServerStatus, UnloadedModel, UpdatedModel
from service.client.reorder_buffer import IN_FLIGHT
from service.client.results import Outcome
from service.client.security import Tls, security_of
from service.client.upload import Progress, silent
from service.client.versions import FineTuned, RolledBack, VersionReport, Versions
from service.pb import models_pb2 as models_pb


class AsyncClient:
    """Calls one server, at `host:port` or `unix:PATH`, or several that share a home and a database. Raises ZooClientError.

    `dns:///NAME:PORT` and `ipv4:HOST:PORT,HOST:PORT` name several: each call goes to the next one that is ready.

    A timeout is in seconds over all attempts; None waits for ever. Methods that return an iterator start the call at its first
    step. Threads may share a `Client`; an `AsyncClient` belongs to the event loop in which it is made.

    `tls`: True for TLS with the CAs that this machine trusts, `Tls` for others, False for plain text. `token`: sent with every
    call; refused in plain text to another machine, unless `allow_plaintext_beyond_loopback`. What is None comes from the
    environment: see `service/client/security.py`.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        retry: Retry | None = None,
        owner: str = "",
        tls: Tls | bool | None = None,
        token: str | None = None,
        allow_plaintext_beyond_loopback: bool | None = None,
    ) -> None:
        self.target = target
        security = security_of(target, tls, token, allow_plaintext_beyond_loopback)
        self._connection = AsyncConnection(target, retry or Retry(), owner, security)
        self._models = AsyncModels(self._connection)
        self._predictions = AsyncPredictions(self._connection, AsyncInputEncoder(self._models))
        self._datasets = AsyncDatasets(self._connection)
        self._jobs = AsyncJobs(self._connection)
        self._versions = AsyncVersions(self._connection)
        self._fine_tuning = AsyncFineTuning(self._datasets, self._jobs, self._versions)
        self._access = AsyncAccess(self._connection)

    async def close(self) -> None:
        """Ends all calls and closes the connection."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ── predictions ───────────────────────────────────────────────────────────────────────────────────────────

    async def predict(
        self,
        model: str,
        inputs: Input | Sequence[Input],
        *,
        version: str = "",
        top_k: int | None = None,
        threshold: float | None = None,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        candidate_labels: Sequence[str] = (),
        hypothesis_template: str | None = None,
        multi_label: bool | None = None,
        kernel: KernelInput | None = None,
        kernel_scale: float | None = None,
        kernel_offset: float | None = None,
        attribute: bool = False,
        include_tensors: bool = False,
        priority: int = 0,
        timeout: float | None = CALL_TIMEOUT_S,
    ) -> list[Outcome]:
        """One result for each input, in their order.

        An input that fails alone has a PredictionError in its place; if all fail, the first error is raised. `priority`: 1 is
        the first of the waiting requests, 9 the last, 0 the default. For a model that generates text: at most
        `max_new_tokens`; a larger `temperature` gives more random texts, and the same `seed` the same text.
        `candidate_labels`, `hypothesis_template` and `multi_label` are for zero-shot classification. `kernel` of an image
        filter is a name, or nine numbers row by row; sums are divided by `kernel_scale`, and `kernel_offset` is added.
        `attribute` asks classifiers of images and texts from which parts of an input the best label follows.
        """
        options = PredictOptions(
            top_k=top_k,
            threshold=threshold,
            include_tensors=include_tensors,
            priority=priority,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            candidate_labels=candidate_labels,
            hypothesis_template=hypothesis_template,
            multi_label=multi_label,
            kernel=kernel,
            kernel_scale=kernel_scale,
            kernel_offset=kernel_offset,
            attribute=attribute,
        )
        return await self._predictions.predict(model, inputs, version, options, timeout)

    def stream_predict(
        self,
        model: str,
        inputs: Iterable[Input] | AsyncIterable[Input],
        *,
        version: str = "",
        top_k: int | None = None,
        threshold: float | None = None,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        candidate_labels: Sequence[str] = (),
        hypothesis_template: str | None = None,
        multi_label: bool | None = None,
        kernel: KernelInput | None = None,
        kernel_scale: float | None = None,
        kernel_offset: float | None = None,
        attribute: bool = False,
        include_tensors: bool = False,
        priority: int = 0,
        timeout: float | None = None,
        in_flight: int = IN_FLIGHT,
    ) -> AsyncIterator[Outcome]:
        """One result for each input, in their order, while further inputs are sent.

        At most `in_flight` inputs wait for an answer at a time. The client draws from `inputs` beside the caller: `Client` in
        another thread, `AsyncClient` in another task. An exception that `inputs` raises is raised here, after the results of
        the inputs before it. If the connection breaks before the first answer, the client opens the stream again and sends the
        inputs again; if it breaks later, Unavailable is raised. If the server shuts down in the usual way, the client sends
        what is not answered to the next server, or to the same one once it is back.
        """
        options = PredictOptions(
            top_k=top_k,
            threshold=threshold,
            include_tensors=include_tensors,
            priority=priority,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            candidate_labels=candidate_labels,
            hypothesis_template=hypothesis_template,
            multi_label=multi_label,
            kernel=kernel,
            kernel_scale=kernel_scale,
            kernel_offset=kernel_offset,
            attribute=attribute,
        )
        return self._predictions.stream(model, inputs, version, options, timeout, in_flight)

    # ── models ────────────────────────────────────────────────────────────────────────────────────────────────

    def models(
        self, *, family: str = "", task: str = "", state: str = "", timeout: float | None = CALL_TIMEOUT_S
    ) -> AsyncIterator[ModelInfo]:
        """The server's catalog in order of name, page by page. `timeout` is for each page."""
        return self._models.list_all(family, task, state, timeout)

    async def model(self, name: str, *, timeout: float | None = CALL_TIMEOUT_S) -> ModelInfo:
        """One model, with its labels."""
        return await self._models.get(name, timeout)

    async def pull_model(
        self,
        reference: str,
        *,
        name: str = "",
        task: str = "",
        labels: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        timeout: float | None = LOAD_TIMEOUT_S,
    ) -> PulledModel:
        """Makes a published network, such as `hf:ORG/NAME`, a model of the server, where `ZOO_ALLOW_PULL` permits it.

        The server fetches it, converts it and compares its answers with those of its makers' library; `load` then loads it.
        `name`, `task`, `labels` and `settings` are as the options of `zoo pull`.
        """
        given = dict(settings or {})
        request = build(
            models_pb.PullModelRequest, reference=reference, name=name, task=task, labels=list(labels), settings=given
        )
        return await self._models.pull(request, timeout)

    async def load(self, name: str, *, timeout: float | None = LOAD_TIMEOUT_S) -> ModelInfo:
        """Loads a model, and fetches its weights at first use; returns when it is READY."""
        return await self._models.load(name, timeout)

    async def unload(self, name: str, *, timeout: float | None = CALL_TIMEOUT_S) -> UnloadedModel:
        """Unloads a model after its pending requests; returns the freed memory with it."""
        return await self._models.unload(name, timeout)

    async def set_options(
        self, name: str, options: Mapping[str, Option | None], *, timeout: float | None = CALL_TIMEOUT_S
    ) -> UpdatedModel:
        """Changes options of a model while it serves: `{"max_batch_size": 8, "weight": 2}`. None resets an option to its
        default."""
        return await self._models.set_options(name, options, timeout)

    async def ready(self, *, timeout: float | None = HEALTH_TIMEOUT_S) -> bool:
        """Whether the server may serve. Not retried: ServerUnreachable is raised at once."""
        return await self._models.ready(timeout)

    async def status(self, *, timeout: float | None = HEALTH_TIMEOUT_S) -> ServerStatus:
        """Live, ready and the models with their states. For an absent server it returns a status and raises no error."""
        return await self._models.status(timeout)

    # ── datasets ──────────────────────────────────────────────────────────────────────────────────────────────

    async def upload_dataset(
        self,
        data: str | Path,
        *,
        kind: str = "",
        columns: Columns | Mapping[str, str] | None = None,
        display_name: str = "",
        task: str = "",
        progress: Progress = silent,
        timeout: float | None = None,
    ) -> Dataset:
        """Stores a file, a folder or the content of a URI; returns once the server has validated it.

        A folder is packed into an archive; equal folders give equal archives. The server infers `kind` (`image_folder`,
        `text`, `table` and so on) and `columns` (`{"text": "review", "target": "stars"}`) if they are not given, and whether
        to learn classes or numbers unless `task` (`text-classification`) says so. `progress` gets the bytes done, the bytes
        in all, and `packing`, `reading`, `sending` or `checking`; it may be called from another thread. An upload that breaks
        continues from the bytes that the server has, by itself or at the next call. Raises BadInput for data that cannot be
        read, InvalidRequest for data that cannot be learned from.
        """
        return await self._datasets.upload(data, kind, columns, display_name, task, progress, timeout)

    def datasets(self, *, kind: str = "", timeout: float | None = CALL_TIMEOUT_S) -> AsyncIterator[Dataset]:
        """The datasets, newest first, page by page; without the lists of skipped examples."""
        return self._datasets.list_all(kind, timeout)

    async def dataset(self, dataset_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> Dataset:
        """One dataset with its whole report."""
        return await self._datasets.get(dataset_id, timeout)

    async def delete_dataset(
        self, dataset_id: str, *, force: bool = False, timeout: float | None = CALL_TIMEOUT_S
    ) -> int:
        """Deletes a dataset; returns the freed bytes. Raises IllegalMove while a job uses it; with `force` the job fails
        instead."""
        return await self._datasets.delete(dataset_id, force, timeout)

    # ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def create_job(
        self,
        base: str,
        dataset_id: str,
        model: str,
        *,
        task: str = "",
        method: str = "auto",
        hyperparameters: Mapping[str, Any] | None = None,
        seed: int = 0,
        priority: int = 0,
        promote: bool = True,
        display_name: str = "",
        request_id: str = "",
        timeout: float | None = CALL_TIMEOUT_S,
    ) -> Job:
        """Queues a job that fine-tunes `base` on a dataset; its result becomes the next version of `model`.

        `method`: `auto`, `head`, `full` or `lora`. `hyperparameters` replace the values that Zoo would choose. `priority`: 1 is
        first, 9 last, 0 the default. `promote`: whether `stable` may move to the result. A call with the `request_id` of an
        earlier call returns the job of that call.
        """
        request = job_request(
            base,
            dataset_id,
            model,
            task=task,
            method=method,
            hyperparameters=hyperparameters,
            seed=seed,
            priority=priority,
            promote=promote,
            display_name=display_name,
            request_id=request_id,
        )
        return await self._jobs.create(request, timeout)

    async def check_job(
        self,
        base: str,
        model: str,
        *,
        dataset_id: str = "",
        kinds: Sequence[str] = (),
        task: str = "",
        method: str = "auto",
        hyperparameters: Mapping[str, Any] | None = None,
        seed: int = 0,
        priority: int = 0,
        timeout: float | None = CALL_TIMEOUT_S,
    ) -> None:
        """Raises the error that `create_job` would raise, and creates no job. Without a dataset it checks what does not depend
        on one; `kinds` are the possible kinds of a later dataset."""
        request = job_request(
            base,
            dataset_id,
            model,
            task=task,
            method=method,
            hyperparameters=hyperparameters,
            seed=seed,
            priority=priority,
        )
        await self._jobs.check(request, kinds, timeout)

    async def job(self, job_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> Job:
        """One job in its present state."""
        return await self._jobs.get(job_id, timeout)

    def jobs(
        self, *, state: str = "", model: str = "", owner: str = "", timeout: float | None = CALL_TIMEOUT_S
    ) -> AsyncIterator[Job]:
        """The jobs, newest first, page by page."""
        return self._jobs.list_all(state, model, owner, timeout)

    async def cancel_job(self, job_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> Job:
        """Ends a job within a step. A job that has ended stays as it is."""
        return await self._jobs.cancel(job_id, timeout)

    async def pause_job(self, job_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> Job:
        """Pauses a job after a checkpoint."""
        return await self._jobs.pause(job_id, timeout)

    async def resume_job(self, job_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> Job:
        """Queues a paused job again, or a failed job that has a checkpoint."""
        return await self._jobs.resume(job_id, timeout)

    async def delete_job(self, job_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> int:
        """Deletes a job that has ended, and keeps its version; returns the freed bytes. Raises IllegalMove for a job that has
        not ended."""
        return await self._jobs.delete(job_id, timeout)

    def watch_job(self, job_id: str, *, after: int = 0) -> AsyncIterator[JobEvent]:
        """The events of a job after event `after`, until the job has ended.

        The client opens the stream again if the connection breaks or the server restarts: each event is yielded once.
        """
        return self._jobs.watch(job_id, after)

    async def checkpoints(self, job_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> tuple[Checkpoint, ...]:
        """The present checkpoints of a job, in order of step."""
        return await self._jobs.checkpoints(job_id, timeout)

    async def finetune(
        self,
        base: str,
        data: str | Path | Dataset,
        name: str,
        *,
        kind: str = "",
        columns: Columns | Mapping[str, str] | None = None,
        task: str = "",
        method: str = "auto",
        hyperparameters: Mapping[str, Any] | None = None,
        seed: int = 0,
        priority: int = 0,
        promote: bool = True,
        progress: Progress = silent,
        on_event: Callable[[JobEvent], object] | None = None,
    ) -> FineTuned:
        """From data to the next served version of `name`: uploads, creates the job and waits for its end.

        See `upload_dataset` and `create_job`. `on_event` is called with each event of the job. Raises JobFailed if the job ends
        without a version.
        """
        request = job_request(
            base,
            "",
            name,
            task=task,
            method=method,
            hyperparameters=hyperparameters,
            seed=seed,
            priority=priority,
            promote=promote,
        )
        return await self._fine_tuning.run(request, data, kind, columns, progress, on_event)

    # ── versions ──────────────────────────────────────────────────────────────────────────────────────────────

    async def versions(self, model: str, *, timeout: float | None = CALL_TIMEOUT_S) -> Versions:
        """The versions of a model, newest first, and the routing of calls that name none."""
        return await self._versions.list_all(model, timeout)

    async def report(
        self, model: str, version: int | str = "", *, timeout: float | None = CALL_TIMEOUT_S
    ) -> VersionReport:
        """Evaluation of a fine-tuned version on held-out data; of the stable version if no number or alias is given."""
        return await self._versions.report(model, str(version), timeout)

    async def promote(self, model: str, version: int, *, timeout: float | None = LOAD_TIMEOUT_S) -> ModelInfo:
        """Makes a version the stable one, whatever its report says."""
        return await self._versions.set_alias(model, STABLE, version, timeout)

    async def rollback(self, model: str, *, timeout: float | None = LOAD_TIMEOUT_S) -> RolledBack:
        """Makes the previous stable version stable again. Not retried, because it is not idempotent."""
        return await self._versions.rollback(model, timeout)

    async def set_canary(
        self, model: str, version: int, share: float, *, timeout: float | None = LOAD_TIMEOUT_S
    ) -> ModelInfo:
        """Gives a version a share (0..1) of the calls that name no version; a share of 0 ends the canary."""
        return await self._versions.set_canary(model, version, share, timeout)

    async def set_alias(
        self, model: str, alias: str, version: int, *, timeout: float | None = LOAD_TIMEOUT_S
    ) -> ModelInfo:
        """Points an alias at a version."""
        return await self._versions.set_alias(model, alias, version, timeout)

    async def delete_alias(self, model: str, alias: str, *, timeout: float | None = CALL_TIMEOUT_S) -> ModelInfo:
        """Removes an alias; `stable` cannot be removed."""
        return await self._versions.delete_alias(model, alias, timeout)

    async def delete_version(self, model: str, version: int, *, timeout: float | None = CALL_TIMEOUT_S) -> int:
        """Deletes a version without an alias; returns the freed bytes."""
        return await self._versions.delete(model, version, timeout)

    # ── access ────────────────────────────────────────────────────────────────────────────────────────────────

    async def create_token(
        self,
        principal: str,
        scopes: Sequence[str],
        *,
        models: Sequence[str] = (),
        limits: TokenLimits | None = None,
        expires: datetime | None = None,
        timeout: float | None = CALL_TIMEOUT_S,
    ) -> NewToken:
        """Makes a token with the scopes `infer`, `models`, `finetune`, `admin` or `metrics`, for all models or those whose names
        match `models` (`cat*`). Only the result has its secret. Not retried: a second attempt would make a second token."""
        return await self._access.create(principal, scopes, models, limits, expires, timeout)

    def tokens(self, *, principal: str = "", timeout: float | None = CALL_TIMEOUT_S) -> AsyncIterator[Token]:
        """The tokens, newest first, page by page; revoked and expired ones too. `timeout` is for each page."""
        return self._access.list_all(principal, timeout)

    async def revoke_token(self, token_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> Token:
        """Ends a token for ever."""
        return await self._access.revoke(token_id, timeout)

    async def identity(self, *, timeout: float | None = CALL_TIMEOUT_S) -> Identity:
        """Whom the server takes the caller for, and what the caller may do."""
        return await self._access.identity(timeout)
