"""Every setting: its type, its bounds, its default, and what it does."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.addresses import is_grpc_endpoint, is_host_name, is_unix, unix_address
from service.settings.machine import usable_cores
from service.settings.model_options import ModelOptions, Optimize, Precision


def _default_home() -> Path:
    try:
        return Path(platformdirs.user_data_dir("zoo", appauthor=False))
    except RuntimeError:  # HOME is not set, and the system does not know the user
        return Path("~")  # the validator of `home` fails on it, with a message


class Settings(BaseSettings):
    """The settings of a server. `load_settings` builds them once at start; no other code reads the environment."""

    # An empty variable, as compose files may leave it, means the default: an empty host would mean every interface.
    model_config = SettingsConfigDict(env_prefix="ZOO_", env_ignore_empty=True, extra="ignore", frozen=True)

    home: Path = Field(default_factory=_default_home)
    """Folder of weights and state. Change it to use a larger disk or a shared volume."""

    models: Annotated[tuple[str, ...], NoDecode] = ()
    """Models to load at start, separated by commas; empty means the default set. Fewer models start faster."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address that both ports listen on. `0.0.0.0` opens them to the network, which needs TLS and tokens. With
    `unix:/run/zoo.sock` gRPC listens on that socket instead of a port, and HTTP on 127.0.0.1."""

    socket_mode: Literal["0600", "0660"] = "0600"
    """Permissions of the socket of a `unix:` host: `0600` lets only the server's user connect, `0660` also its group."""

    port: int = Field(default=8001, ge=0, le=65535)
    """gRPC port; 0 picks a free one, which the server prints at start."""

    http_port: int = Field(default=8002, ge=0, le=65535)
    """Port of `/metrics`, `/livez`, `/readyz` and `/healthz`; 0 picks a free one."""

    tls_cert_file: Path | None = None
    """PEM file with the server's certificate, followed by those between it and its CA. With it and its key both ports speak TLS
    only. A changed file is read again within seconds."""

    tls_key_file: Path | None = None
    """PEM file with the private key of `tls_cert_file`, without a passphrase; only its owner and group may read it."""

    tls_client_ca_file: Path | None = None
    """PEM file with the CAs of clients. With it gRPC accepts only clients with a certificate of one of them, and so does
    `/metrics`."""

    allow_plaintext_beyond_loopback: bool = False
    """Whether both ports may listen beyond this machine without TLS. Turn it on only where something else encrypts, such as a
    proxy or a service mesh, or where the network is private."""

    allow_anonymous_beyond_loopback: bool = False
    """Whether both ports may listen beyond this machine with neither tokens nor client certificates, so that everyone who
    reaches them may do everything."""

    metrics: Literal["token", "open", "off"] = "token"
    """Who reads `/metrics`: `token` needs a token as calls do, so it is open where tokens are off; `open` needs none; `off`
    removes the page."""

    reflection: Literal["token", "open", "off"] = "token"
    """Who reads the protocol by gRPC server reflection; as `metrics`."""

    tokens: Literal["off", "required"] = "off"
    """`required` serves only calls with a valid bearer token, see `zoo token create`; `off` serves everyone who can connect."""

    admin_token_file: Path | None = None
    """File with the first admin token; if it does not exist, the server makes it, readable by its own user alone. Without it the
    first token is made by `zoo token create --local` on the server's machine."""

    token_cache_s: float = Field(default=60.0, ge=1.0, le=86_400.0)
    """How long tokens stay valid while the database does not answer; then calls are UNAVAILABLE. Raise it to outlast longer
    interruptions, lower it to make a revocation certain sooner."""

    requests_per_second: float = Field(default=0.0, ge=0.0, le=1e9)
    """Most calls a second with one token that sets no limit of its own; 0 sets none."""

    rows_per_second: float = Field(default=0.0, ge=0.0, le=1e9)
    """Most rows of inference a second with one token that sets no limit of its own; 0 sets none."""

    concurrent_requests: int = Field(default=0, ge=0, le=1_000_000)
    """Most calls at once with one token that sets no limit of its own; 0 sets none."""

    datasets_per_owner: int = Field(default=0, ge=0, le=1_000_000)
    """Most datasets of one principal whose token sets no limit of its own; 0 sets none."""

    dataset_mib_per_owner: int = Field(default=0, ge=0, le=1_073_741_824)
    """Disk space of all datasets of one principal whose token sets no limit of its own; 0 sets none."""

    audit_log: Literal["on", "off"] = "on"
    """`on` appends a line to `audit.jsonl` in `home` for each change of a model, version, job, dataset or token."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto` takes the first GPU, or the CPU if there is no GPU."""

    lanes: int = Field(default=0, ge=0, le=64)
    """Batches that run at once on the device; 0 chooses: one on a GPU, by measurement on a CPU."""

    cpu_threads: int = Field(default=0, ge=0, le=1024)
    """Cores for networks; 0 takes all that this process may use. Lower it to leave cores to other processes."""

    preprocess_workers: int = Field(default=0, ge=0, le=256)
    """Threads that decode, resize and tokenise; 0 takes one for each core."""

    max_batch_size: int = Field(default=0, ge=0, le=4096)
    """Most rows in a batch of any model, up to its card's limit; 0 chooses by device. Lower it to bound memory."""

    max_queue_size: int = Field(default=512, ge=1, le=1_000_000)
    """Most rows of a model that wait or run; further requests are rejected at once. Raise it for bursts."""

    max_queue_delay_ms: float = Field(default=0.0, ge=0.0, le=10_000.0)
    """How long an idle device waits for a fuller batch. Raise it only if throughput matters more than latency."""

    default_timeout_ms: float = Field(default=60_000.0, gt=0.0, le=3_600_000.0)
    """Deadline of requests that have none."""

    precision: Precision = "auto"
    """Number format of networks; `auto` takes the fastest that passes the checks. Use `fp32` if every digit matters."""

    optimize: Optimize = "auto"
    """`auto` compiles networks in the background and swaps in those that pass the checks and are faster; `off` compiles none."""

    lane_processes: Literal["auto", "off"] = "auto"
    """`auto` runs networks that stay eager in a process for each lane, on a CPU with several lanes, at least 4 GiB and no memory
    budget; `off` saves the memory of these processes, at least 500 MiB each."""

    memory_budget_mib: int = Field(default=0, ge=0, le=16_777_216)
    """Memory of loaded models on the device; 0 sets no limit. Over it the least recently used models are unloaded."""

    allow_pull: bool = False
    """Whether callers with the scope `models` may pull networks from a model hub by PullModel. Every caller has that scope on a
    server without tokens."""

    load_on_demand: bool = False
    """Whether a request loads a model whose weights are on this machine. A model that was evicted for the memory budget is
    loaded at a request in any case. Turn it on to serve a large catalog with little memory."""

    model_options: Annotated[dict[str, ModelOptions], NoDecode] = Field(default_factory=dict)
    """Options by model, as JSON: `{"efficientnet_lite0": {"weight": 2}}`. They can change while the server runs."""

    database_url: str = Field(default="", repr=False)
    """Database of jobs and aliases: `postgresql://user@host/name` or `sqlite:///path`; empty means `zoo.db` in `home`. Use
    PostgreSQL if several servers share the work; they then share `home` as well, on one disk."""

    follow_interval_s: float = Field(default=2.0, ge=0.1, le=3600.0)
    """Interval at which the server reads what other servers on the same `home` and database published, renamed or deleted."""

    jobs_per_device: int = Field(default=1, ge=0, le=64)
    """Fine-tune jobs that run at once; 0 only queues jobs, for other servers on the same database."""

    job_threads: int = Field(default=0, ge=0, le=1024)
    """Threads of each running job; 0 takes one for each core. For their priority see `job_niceness`."""

    job_memory_mib: int = Field(default=0, ge=0, le=16_777_216)
    """Memory that a running job may use before it is stopped; 0 means half of the memory of the machine or container."""

    job_worker_ready_s: float = Field(default=600.0, ge=0.0, le=86_400.0)
    """Seconds after an upload or a job for which a prewarmed worker, with torch imported, waits for a job; 0 keeps none."""

    jobs_per_owner: int = Field(default=16, ge=1, le=1_000_000)
    """Most jobs of one caller that have not ended, paused jobs included; further jobs are rejected."""

    max_queued_jobs: int = Field(default=256, ge=1, le=1_000_000)
    """Most queued jobs of all callers; further jobs are rejected."""

    job_retention_days: float = Field(default=30.0, ge=0.0, le=36_500.0)
    """Days after which the events, checkpoints, log and TensorBoard files of a job that has ended are removed; its row and its
    version stay. 0 keeps everything."""

    job_yield_target_ms: float = Field(default=50.0, gt=0.0, le=60_000.0)
    """Jobs on a CPU pause while rows of served models wait longer than this. Lower it for latency."""

    job_min_share: float = Field(default=0.1, ge=0.0, le=1.0)
    """Least share of the time in which a job runs on a busy server; 0 lets it wait without limit."""

    job_niceness: int = Field(default=19, ge=0, le=19)
    """Niceness of jobs. 19 comes with the idle scheduling class on Linux: jobs take idle cores only. 0 lets jobs compete with
    requests, where a share of the cores matters more than latency."""

    mlflow_uri: str = Field(default="", repr=False)
    """MLflow server that also tracks jobs; empty means none."""

    frontend: Literal["auto", "aio"] = "auto"
    """`auto` serves inference requests from a completion queue of their own, where this release of grpcio allows it; `aio` serves
    them by grpc.aio, as all other methods."""

    request_memory_mib: int = Field(default=512, ge=16, le=1_048_576)
    """Memory of requests that are being read or answered. Beyond it requests are refused before their messages are read."""

    shared_memory: Literal["off", "system"] = "off"
    """`system` lets clients on this machine pass tensors in POSIX shared memory, as Triton does. They reach every shared memory
    object that the server's user may open, so turn it on only if you trust all who can connect; Linux, and a loopback address
    or a Unix socket as `ZOO_HOST`."""

    max_message_mib: int = Field(default=64, ge=1, le=2047)
    """Largest request or response."""

    keepalive_time_ms: int = Field(default=300_000, ge=1, le=2_147_483_647)
    """Idle time after which the server pings a client, and closes a connection whose client is gone. Lower it if a proxy or
    firewall drops idle connections."""

    keepalive_timeout_ms: int = Field(default=20_000, ge=1, le=2_147_483_647)
    """How long the server waits for the answer to its ping before it closes the connection."""

    keepalive_permit_without_calls: bool = True
    """Whether pings are accepted and sent on a connection without a call."""

    keepalive_min_ping_interval_without_data_ms: int = Field(default=5_000, ge=0, le=2_147_483_647)
    """Least time between two pings of a client while no data are sent to it; a client that pings faster gets `too_many_pings`
    and is disconnected. Clients commonly ping every 10 seconds."""

    keepalive_max_ping_strikes: int = Field(default=2, ge=0, le=2_147_483_647)
    """How many pings may come faster before a client is disconnected; 0 disconnects no client."""

    keepalive_max_pings_without_data: int = Field(default=0, ge=0, le=2_147_483_647)
    """Most pings that the server sends without other data; 0 sets no limit."""

    max_connections: int = Field(default=4096, ge=1, le=1_000_000)
    """Most gRPC connections at once; more are closed as they come. Each takes a file and some 100 KiB."""

    max_streams_per_connection: int = Field(default=1024, ge=1, le=1_000_000)
    """Most calls at once on one connection; more wait at the client. Lower it so that one client cannot take the whole server."""

    max_metadata_kib: int = Field(default=16, ge=4, le=1024)
    """Largest metadata of one call; a call with more is refused. Raise it only for proxies that add long headers."""

    connection_age_s: float = Field(default=0.0, ge=0.0, le=86_400.0)
    """After this time a connection is asked to end, so that clients spread over new servers; 0 sets no limit. Its calls have
    `connection_age_grace_s` to end."""

    connection_age_grace_s: float = Field(default=60.0, ge=0.0, le=86_400.0)
    """How long the calls of a connection that was asked to end may go on."""

    connection_idle_s: float = Field(default=300.0, ge=0.0, le=86_400.0)
    """After this time without a call a connection is asked to end, so that clients that only connect do not hold all that may
    be open; 0 sets no limit. A client connects again at its next call."""

    handshake_timeout_s: float = Field(default=10.0, ge=1.0, le=600.0)
    """How long a new connection may take to become one of HTTP/2, TLS included; then it is closed. By gRPC's default a silent
    client holds it for two minutes."""

    dataset_roots: Annotated[tuple[str, ...], NoDecode] = ()
    """Roots of URIs that the server reads for callers: `file:///data`, `s3://bucket/folder`, separated by commas; none by
    default. Every caller may read everything below them."""

    max_dataset_mib: int = Field(default=4096, ge=1, le=16_777_216)
    """Largest dataset, both as uploaded and as extracted. Raise it for large collections, lower it to save disk space."""

    max_dataset_files: int = Field(default=200_000, ge=1, le=10_000_000)
    """Most files in a dataset. Raise it if the file system copes with them."""

    datasets_quota_mib: int = Field(default=0, ge=0, le=1_073_741_824)
    """Disk space of all datasets and unfinished uploads; 0 sets no limit. Set it if other programs need the disk."""

    dataset_memory_mib: int = Field(default=4096, ge=64, le=16_777_216)
    """Memory of the process that reads a dataset. Raise it for series of many million steps."""

    drain_notice_s: float = Field(default=0.0, ge=0.0, le=600.0)
    """After SIGTERM, how long the server reports not ready and still accepts requests. Set it above the interval of the load
    balancer."""

    drain_grace_s: float = Field(default=30.0, ge=0.0, le=3600.0)
    """After SIGTERM, how long the server waits for requests in flight."""

    offline: bool = False
    """Whether the server fetches no weights; a model that is not in `home` is then UNAVAILABLE with this reason."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """`debug` adds a line for every request."""

    log_format: Literal["auto", "console", "json"] = "auto"
    """`auto` writes text on a terminal and JSON lines elsewhere."""

    slow_request_ms: float = Field(default=5_000.0, ge=0.0, le=3_600_000.0)
    """An inference request that takes this long gets a log line, as every failed call does; 0 logs no slow request."""

    otlp_endpoint: str = Field(default="", max_length=1024)
    """Collector of OpenTelemetry that gets traces by OTLP over gRPC: `http://host:4317`, or `https://…`; empty means none."""

    trace_sample_ratio: float = Field(default=0.01, ge=0.0, le=1.0)
    """Share of the requests without `traceparent` that are traced, where there is a collector; those with one follow its flag."""

    @field_validator("models", "dataset_roots", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("model_options", mode="before")
    @classmethod
    def _decode(cls, value: object) -> object:
        try:
            decoded = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            decoded = None
        if not isinstance(decoded, Mapping):
            raise PydanticCustomError("not_json", 'expected a JSON object such as {"silero_vad": {"weight": 2}}')
        return decoded

    @field_validator("dataset_roots")
    @classmethod
    def _are_roots(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for root in value:
            if not root.startswith(("file:///", "s3://")) or root == "s3://":
                raise PydanticCustomError("not_a_root", "expected URIs such as file:///data or s3://bucket/folder")
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_endpoint(cls, value: str) -> str:
        if value and not is_grpc_endpoint(value):
            raise PydanticCustomError("not_an_endpoint", "expected http://HOST:PORT, or https in place of http")
        return value

    @field_validator("home", mode="before")
    @classmethod
    def _name(cls, value: object) -> object:
        if isinstance(value, str | Path) and not _is_utf8(str(value)):
            raise PydanticCustomError("not_utf8", "its name is not valid UTF-8; choose another folder")
        return value

    @field_validator("home")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return _absolute(value, "set ZOO_HOME to a folder")

    @field_validator("tls_cert_file", "tls_key_file", "tls_client_ca_file", "admin_token_file")
    @classmethod
    def _expand_file(cls, value: Path | None) -> Path | None:
        return None if value is None else _absolute(value, "give an absolute path")

    @field_validator("host")
    @classmethod
    def _address(cls, value: str) -> str:
        if is_unix(value):
            try:
                return unix_address(value)
            except ValueError as error:
                raise PydanticCustomError("not_a_socket", "{problem}", {"problem": str(error)}) from None
        inner = value[1:-1] if value.startswith("[") and value.endswith("]") else value
        if ":" in inner or inner != value:  # an IPv6 address, with or without the brackets of a URL
            try:
                ipaddress.IPv6Address(inner)
            except ValueError:
                raise PydanticCustomError(
                    "not_a_host",
                    "expected an address or a name such as 127.0.0.1, ::1 or localhost; the port is a setting of its own",
                ) from None
        elif not is_host_name(inner):
            raise PydanticCustomError(
                "not_a_host",
                "expected an address or a name such as 127.0.0.1, ::1 or localhost; 0.0.0.0 or :: stands for all addresses",
            )
        return inner

    @property
    def http_host(self) -> str:
        """Address of the HTTP port: the loopback interface where gRPC listens on a Unix socket."""
        return "127.0.0.1" if is_unix(self.host) else self.host

    @property
    def cores(self) -> int:
        """Cores for networks: the setting, or else all cores that this process may use."""
        return self.cpu_threads or usable_cores()


def _absolute(path: Path, advice: str) -> Path:
    """A path as an absolute one. Raises PydanticCustomError; `advice` says what to give instead."""
    try:
        # A `~` from a settings file is not expanded by a shell. Absolute, since child processes have other working folders.
        return path.expanduser().absolute()
    except RuntimeError:
        user = path.parts[0][1:] or "this user"
        raise PydanticCustomError(
            "no_home", "there is no home folder of {user}; {advice}", {"user": user, "advice": advice}
        ) from None
    except OSError:
        raise PydanticCustomError("no_folder", "the working folder is gone, and a relative path begins there") from None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # the environment held bytes that are not UTF-8
        return False
    return True
