"""Every setting of the server. Each can be given in the environment as `ZOO_` and its name in capitals.

Units stand in the names. A default that suits most is set everywhere; the sentence under each says when to change it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

LONGEST_SHOWN = 100
"""Characters of a wrong value that its sentence repeats."""


class SettingsError(Exception):
    """A setting is wrong. The text is one sentence a line, fit to be shown as it is."""


def _default_home() -> Path:
    return Path(platformdirs.user_data_dir("zoo", appauthor=False))


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

    max_message_mib: int = Field(default=64, ge=1, le=2047)
    """Largest request or reply, in MiB."""

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

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("home")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser()  # a `~` from a file of settings was never seen by a shell

    @property
    def cores(self) -> int:
        """Cores for networks: what was set, else what the operating system lets this process use."""
        return self.cpu_threads or usable_cores()


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
        except (OSError, ValueError):
            continue
    return fallback


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment, with `overrides` (those not `None`) above them.

    Raises SettingsError with one sentence for each wrong setting.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [
            _sentence(str(e["loc"][0]) if e["loc"] else "", e["msg"], e.get("input"), given) for e in error.errors()
        ]
        raise SettingsError("\n".join(lines)) from None


def _sentence(name: str, problem: str, value: object, given: dict[str, Any]) -> str:
    source = "--" + name.replace("_", "-") if name in given else "ZOO_" + name.upper()
    shown = repr(value)
    if len(shown) > LONGEST_SHOWN:
        shown = shown[: LONGEST_SHOWN - 1] + "…"
    return f"{source} is {shown}: {problem[0].lower() + problem[1:]}"
