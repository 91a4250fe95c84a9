"""Every setting of the server. Each can be given in the environment as `ZOO_` and its name in capitals.

Units stand in the names. A default that suits most is set everywhere; the sentence under each says when to change it.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

LONGEST_SHOWN = 100
"""Characters of a wrong value that its sentence repeats."""


class SettingsError(Exception):
    """A setting is wrong. The text is one sentence a line, fit to be shown as it is."""


def _default_home() -> Path:
    try:
        return Path(platformdirs.user_data_dir("zoo", appauthor=False))
    except RuntimeError:  # a user whom the system does not know, without HOME
        return Path("~")  # which the check of `home` cannot find either, and says so


Precision = Literal["auto", "fp32", "bf16", "fp16"]
Optimize = Literal["auto", "off"]


class ModelOptions(BaseModel):
    """What may differ from model to model. `None` leaves the server's own setting, or the card's, as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_batch_size: int | None = Field(default=None, ge=1, le=4096)
    """Most rows in a batch, up to the card's. Lower it to bound memory or the time one batch takes."""

    max_queue_size: int | None = Field(default=None, ge=1, le=1_000_000)
    """Most rows that the model holds, waiting or running; beyond it callers are refused at once."""

    max_queue_delay_ms: float | None = Field(default=None, ge=0.0, le=10_000.0)
    """How long an idle device may wait for a fuller batch."""

    default_timeout_ms: float | None = Field(default=None, gt=0.0, le=3_600_000.0)
    """Deadline of calls to this model that bring none."""

    weight: float = Field(default=1.0, gt=0.0, le=1000.0)
    """Share of a busy device, against the other models' weights. Raise it for the model that matters most."""

    pinned: bool = False
    """Whether the model stays loaded when the memory budget is short."""

    precision: Precision | None = None
    """Number format it runs in; `auto` takes the fastest that answers right."""

    optimize: Optimize | None = None
    """`auto` compiles the network in the background and swaps it in once it is proven right and faster."""


class Settings(BaseSettings):
    """What the server was told. Built once at start by `load_settings` and passed down; nothing else reads the environment."""

    # A variable that is set but empty, as compose files leave them, means the default: an empty host would be every interface.
    model_config = SettingsConfigDict(env_prefix="ZOO_", env_ignore_empty=True, extra="ignore", frozen=True)

    home: Path = Field(default_factory=_default_home)
    """Folder for weights and state. Change it to put them on a larger disk or a shared volume."""

    models: Annotated[tuple[str, ...], NoDecode] = ()
    """Models to load at start, separated by commas; empty means the zoo's default set. Fewer models start faster."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address both ports listen on. `0.0.0.0` opens them to the network: do so only behind something that authenticates."""

    port: int = Field(default=8001, ge=0, le=65535)
    """gRPC port; 0 picks a free one, which the server tells at start."""

    http_port: int = Field(default=8002, ge=0, le=65535)
    """Port of `/metrics` and `/healthz`; 0 picks a free one."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto` takes the first GPU, or the CPU where there is none."""

    lanes: int = Field(default=0, ge=0, le=64)
    """Batches that run at once on the device; 0 chooses (one on a GPU; on a CPU as measured)."""

    cpu_threads: int = Field(default=0, ge=0, le=1024)
    """Cores to use for networks; 0 takes what this process may use. Lower it to leave room for neighbours."""

    preprocess_workers: int = Field(default=0, ge=0, le=256)
    """Threads that decode, resize and tokenise; 0 takes as many as cores."""

    max_batch_size: int = Field(default=0, ge=0, le=4096)
    """Most rows in a batch, for every model, up to its card's; 0 takes what the device gains from. Lower it to bound memory."""

    max_queue_size: int = Field(default=512, ge=1, le=1_000_000)
    """Most rows that a model holds, waiting or running; beyond it callers are refused at once. Raise it for bursts."""

    max_queue_delay_ms: float = Field(default=0.0, ge=0.0, le=10_000.0)
    """How long an idle device may wait for a fuller batch. 0 is right unless throughput matters more than latency."""

    default_timeout_ms: float = Field(default=60_000.0, gt=0.0, le=3_600_000.0)
    """Deadline of calls that bring none."""

    precision: Precision = "auto"
    """Number format networks run in; `auto` takes the fastest that answers right. `fp32` where every digit matters."""

    optimize: Optimize = "auto"
    """`auto` compiles networks in the background and swaps them in once proven right and faster; `off` runs them as they are."""

    lane_processes: Literal["auto", "off"] = "auto"
    """`auto` runs networks that stay eager in a process a lane, on a CPU with several lanes, 4 GiB or more, and no memory
    budget; `off` saves those processes' memory, 500 MiB or more each."""

    memory_budget_mib: int = Field(default=0, ge=0, le=16_777_216)
    """Memory that loaded models may hold on the device; 0 sets no limit. Beyond it those used longest ago are unloaded."""

    load_on_demand: bool = False
    """Whether a call loads a model that is not loaded but whose weights are on this machine. One that the memory budget
    pushed out comes back at a call in any case. Turn it on to serve a large catalog from little memory."""

    model_options: Annotated[dict[str, ModelOptions], NoDecode] = Field(default_factory=dict)
    """Options by model, as JSON: `{"efficientnet_lite0": {"weight": 2}}`. They can be changed while the server runs."""

    database_url: str = Field(default="", repr=False)
    """Where jobs and aliases are kept: `postgresql://user@host/name`, or `sqlite:///path`; empty means `zoo.db` in `home`. Use
    PostgreSQL where several servers share the work; they then share `home` as well, on one disk."""

    follow_interval_s: float = Field(default=2.0, ge=0.1, le=3600.0)
    """Between two looks at which versions other servers published, named or deleted on the same `home` and database."""

    jobs_per_device: int = Field(default=1, ge=0, le=64)
    """Fine-tune jobs that run at once; 0 only queues them, for other servers on the same database."""

    job_threads: int = Field(default=0, ge=0, le=1024)
    """Threads of each running job; 0 takes as many as cores. They have the lowest priority, so serving comes first."""

    job_memory_mib: int = Field(default=0, ge=0, le=16_777_216)
    """Memory that a running job may hold before it is ended; 0 means half of what the machine or container has."""

    job_worker_ready_s: float = Field(default=600.0, ge=0.0, le=86_400.0)
    """Seconds after an upload or a job for which a worker is kept ready for the next job, with torch imported; 0 keeps none."""

    jobs_per_owner: int = Field(default=16, ge=1, le=1_000_000)
    """Jobs of one caller that have not ended, paused ones included; beyond it new ones are refused."""

    max_queued_jobs: int = Field(default=256, ge=1, le=1_000_000)
    """Jobs of all callers that may wait; beyond it new ones are refused."""

    job_retention_days: float = Field(default=30.0, ge=0.0, le=36_500.0)
    """Days after which the events, checkpoints, log and TensorBoard files of a job that has ended are removed; its row and its
    version stay. 0 keeps everything for ever."""

    job_yield_target_ms: float = Field(default=50.0, gt=0.0, le=60_000.0)
    """Once a row of a served model has waited this long, jobs on a CPU rest until it is quiet again. Lower it for latency."""

    job_min_share: float = Field(default=0.1, ge=0.0, le=1.0)
    """Least share of the time in which a job is not made to rest, however busy the server is; 0 lets it wait for ever."""

    mlflow_uri: str = Field(default="", repr=False)
    """MLflow server that jobs are tracked on as well; empty means none."""

    max_message_mib: int = Field(default=64, ge=1, le=2047)
    """Largest request or reply, in MiB."""

    keepalive_time_ms: int = Field(default=7_200_000, ge=1, le=2_147_483_647)
    """After so long without traffic the server pings a client. Lower it where something between them drops idle connections."""

    keepalive_timeout_ms: int = Field(default=20_000, ge=1, le=2_147_483_647)
    """How long a client may take to answer the server's ping before its connection is closed."""

    keepalive_permit_without_calls: bool = True
    """Whether pings are welcome, and sent, on a connection without a call."""

    keepalive_min_ping_interval_without_data_ms: int = Field(default=5_000, ge=0, le=2_147_483_647)
    """Least time between two pings of a client while nothing is sent to it; one that pings faster is told `too_many_pings` and
    sent away. Clients commonly ping every 10 seconds."""

    keepalive_max_ping_strikes: int = Field(default=2, ge=0, le=2_147_483_647)
    """How many pings may come faster than that before a client is sent away; 0 sends nobody away."""

    keepalive_max_pings_without_data: int = Field(default=0, ge=0, le=2_147_483_647)
    """How many pings the server sends while it has nothing else to send; 0 sets no limit."""

    dataset_roots: Annotated[tuple[str, ...], NoDecode] = ()
    """Where callers may have the server itself read data: `file:///data`, `s3://bucket/folder`, separated by commas; none by
    default. Name only what every caller may see."""

    max_dataset_mib: int = Field(default=4096, ge=1, le=16_777_216)
    """Largest dataset, as uploaded and again as unpacked. Raise it for large collections, lower it to spare the disk."""

    max_dataset_files: int = Field(default=200_000, ge=1, le=10_000_000)
    """Most files in one dataset. Raise it where the file system copes with them."""

    datasets_quota_mib: int = Field(default=0, ge=0, le=1_073_741_824)
    """What all datasets and unfinished uploads may take together; 0 sets no limit but the disk's. Set it where others need it."""

    dataset_memory_mib: int = Field(default=4096, ge=64, le=16_777_216)
    """Memory that reading one dataset may take, in a process of its own. Raise it for series of many million steps."""

    drain_notice_s: float = Field(default=0.0, ge=0.0, le=600.0)
    """After SIGTERM, how long to answer as not ready while still taking work; set it above your load balancer's interval."""

    drain_grace_s: float = Field(default=30.0, ge=0.0, le=3600.0)
    """After SIGTERM, how long requests in flight may take to finish."""

    offline: bool = False
    """Never fetch weights: a model that is not in `home` is then UNAVAILABLE with that reason."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """`debug` adds a line for every request."""

    log_format: Literal["auto", "console", "json"] = "auto"
    """`auto` writes for people on a terminal and JSON lines elsewhere."""

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

    @field_validator("home", mode="before")
    @classmethod
    def _name(cls, value: object) -> object:
        if isinstance(value, str | Path) and not _is_utf8(str(value)):
            raise PydanticCustomError("not_utf8", "its name is not valid UTF-8; choose another folder")
        return value

    @field_validator("home")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        try:
            # A `~` from a file of settings was never seen by a shell. Absolute, since children work in folders of their own.
            return value.expanduser().absolute()
        except RuntimeError:
            user = value.parts[0][1:] or "this user"
            raise PydanticCustomError(
                "no_home", "there is no home folder of {user}; set ZOO_HOME to a folder", {"user": user}
            ) from None
        except OSError:
            raise PydanticCustomError(
                "no_folder", "the working folder is gone, and a relative path begins there"
            ) from None

    @field_validator("host")
    @classmethod
    def _address(cls, value: str) -> str:
        inner = value[1:-1] if value.startswith("[") and value.endswith("]") else value
        if ":" in inner or inner != value:  # an address of IPv6, with or without the brackets that URLs need
            try:
                ipaddress.IPv6Address(inner)
            except ValueError:
                raise PydanticCustomError(
                    "not_a_host",
                    "expected an address or a name such as 127.0.0.1, ::1 or localhost; the port is a setting of its own",
                ) from None
        elif not inner.isprintable() or any(character in "/[]@ " for character in inner):
            raise PydanticCustomError("not_a_host", "expected an address or a name such as 127.0.0.1, ::1 or localhost")
        return inner

    @property
    def cores(self) -> int:
        """Cores for networks: what was set, else what the operating system lets this process use."""
        return self.cpu_threads or usable_cores()


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # the name of a file came with bytes that are none
        return False
    return True


def host_and_port(host: str, port: int) -> str:
    """As addresses and URLs have them: an address of IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def printable_path(path: Path) -> str:
    """A path in a message, in one line whatever its name is."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def usable_cores() -> int:
    """Cores that this process may run on; at least 1. Honours CPU affinity and the container's CPU quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min(affinity, _cgroup_cores(affinity)))


def _cgroup_cores(fallback: int) -> int:
    """Whole cores of the cgroup's CPU quota (v2, else v1); torch and os.cpu_count() see the host's and would oversubscribe."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((Path("/sys/fs/cgroup") / file).read_text() for file in files).split()
            return fallback if quota in ("max", "-1") else max(1, int(quota) // int(period))
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return fallback


def usable_memory_bytes() -> int:
    """Memory that this process may use, by the machine's size and the container's limit."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup v2, else v1
        try:
            return min(whole, int((Path("/sys/fs/cgroup") / file).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return whole


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment, with `overrides` (those not `None`) above them.

    Raises SettingsError with one sentence for each wrong setting.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    foreign = {name: Settings.model_fields[name].default for name in service_variables()}
    try:
        return Settings(**(foreign | given))
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(e, given) for e in error.errors())) from None


_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://\S+:\d+")
_PORTS = ("port", "http_port")


def service_variables() -> dict[str, str]:
    """Ports that the environment does not mean: setting → variable. Kubernetes gives every container `ZOO_PORT=tcp://ADDRESS:PORT`
    where a Service is called `zoo`, and `ZOO_HTTP_PORT` where one is called `zoo-http`."""
    return {
        name.lower().removeprefix("zoo_"): name
        for name, value in os.environ.items()
        if name.lower().removeprefix("zoo_") in _PORTS
        and name.lower().startswith("zoo_")
        and _SERVICE_URL.fullmatch(value)
    }


def with_options(options: Mapping[str, ModelOptions], assignments: Iterable[str]) -> dict[str, Any]:
    """`options` with those of `assignments` above them, each written MODEL.OPTION=VALUE; for `load_settings` to check.

    Raises SettingsError for a text of another form.
    """
    merged: dict[str, Any] = {name: given.model_dump(exclude_unset=True) for name, given in options.items()}
    for text in assignments:
        path, equals, value = text.partition("=")
        model, dot, option = path.strip().partition(".")
        if not (model and dot and option and equals):
            raise SettingsError(
                f"--set is {_shown(text)}: expected MODEL.OPTION=VALUE, for example silero_vad.weight=2"
            )
        merged.setdefault(model, {})[option] = value.strip()
    return merged


def validation_problem(error: Mapping[str, Any]) -> str:
    """One of pydantic's errors as "expected …, got …", in words that need no knowledge of it."""
    problem = str(error["msg"])
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        problem = "Input should be an object of options"
    if not problem.startswith("Input should be "):
        return problem[0].lower() + problem[1:]
    wanted = problem.removeprefix("Input should be ").split(", unable")[0].split(", got")[0]
    return f"expected {'a number ' if wanted.split()[0] in ('greater', 'less') else ''}{wanted}, got {_shown(error['input'])}"


def unknown_option_problem(name: str) -> str:
    """What is wrong with the name of an option that there is not."""
    near = difflib.get_close_matches(name[:64], ModelOptions.model_fields, n=1)
    known = f"did you mean {near[0]!r}?" if near else f"options are {', '.join(ModelOptions.model_fields)}"
    return f"no such option; {known}"


HOME_FOLDERS = ("datasets", "jobs", "uploads", "versions", "weights")
"""Folders in ZOO_HOME that a server cannot do without."""
HOME_LOCK = ".lock"
"""File in ZOO_HOME that every server on it holds."""

_FLAGS = {"models": "--model", "model_options": "--set"}
"""Those that are not called as their setting is."""


def _sentence(error: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    name, *path = (str(part) for part in error["loc"] or ("",))
    source = _FLAGS.get(name, "--" + name.replace("_", "-")) if name in given else "ZOO_" + name.upper()
    if not path:
        problem = str(error["msg"])
        return f"{source} is {_shown(error.get('input'))}: {problem[0].lower() + problem[1:]}"
    where = ".".join(part[:64] for part in path)
    problem = unknown_option_problem(path[-1]) if error["type"] == "extra_forbidden" else validation_problem(error)
    return f"{source} has a wrong {where!r}: {problem}"


def _shown(value: object) -> str:
    text = repr(str(value) if isinstance(value, Path) else value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
