"""Startup before the server answers: checks of the settings against catalog and device, and both ports. Raises SettingsError."""

from __future__ import annotations

import errno
import os
import resource
import socket
import tempfile
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from grpc import ServerCredentials, aio
from prometheus_client import CollectorRegistry

from model_zoo.catalog import Catalog
from model_zoo.locking import try_lock
from model_zoo.similar_names import similar_names
from service.access.exposure import check_exposure
from service.access.tls import Tls
from service.addresses import UNIX, host_and_port, is_loopback, is_unix
from service.database import Database, DatabaseError, database_url
from service.observability.http import Authorize, HttpAccess, HttpPort, anyone
from service.observability.log import logger
from service.observability.tracing.exporter_environment import environment_problem
from service.observability.tracing.request_tracing import TracingService, open_tracing
from service.registry.options import beyond_card
from service.runtime.device import DevicePlan, DeviceUnavailable, limit_threads, plan_device
from service.settings import (
    HOME_FOLDERS,
    HOME_LOCK,
    Settings,
    SettingsError,
    printable_path,
    service_variables,
)
from service.unix_socket import SocketTaken, UnixSocket
from service.wire import prometheus_format
from service.wire.open_inference.regions import OBJECTS

log = logger(__name__)

MOST_FILES = 65_536
GRPC_PORT, HTTP_PORT = "--port or ZOO_PORT", "--http-port or ZOO_HTTP_PORT"
"""Open files and connections. A higher limit only costs the system memory."""


def check_models(names: tuple[str, ...], catalog: Catalog) -> tuple[str, ...]:
    """The models to load at start: those requested, or the zoo's default set. Raises SettingsError for an unknown one."""
    known = catalog.names()
    for name in names:
        if name in catalog.damaged:
            raise SettingsError(f"--model or ZOO_MODELS names {name!r}, whose card is damaged: {catalog.damaged[name]}")
        if name not in known:
            raise SettingsError(f"--model or ZOO_MODELS names {name!r}, which is not in the zoo; {_meant(name, known)}")
    return tuple(dict.fromkeys(names)) or tuple(catalog.default_names())


def check_options(settings: Settings, catalog: Catalog) -> None:
    """Raises SettingsError if options name a model that is not in the zoo, or exceed what its card allows."""
    known = {card.name: card for card in catalog}
    for name, given in settings.model_options.items():
        if name not in known:
            shown, hint = name[:64], _meant(name, known)
            raise SettingsError(f"--set or ZOO_MODEL_OPTIONS names {shown!r}, which is not in the zoo; {hint}")
        if (problem := beyond_card(known[name], given)) is not None:
            raise SettingsError(f"--set or ZOO_MODEL_OPTIONS has a wrong '{name}.max_batch_size': {problem}")


def _meant(name: str, known: Collection[str]) -> str:
    near = similar_names(name, known)
    return f"did you mean {' or '.join(near)}?" if near else f"the zoo has {', '.join(known)}"


def device_plan(settings: Settings) -> DevicePlan:
    """The device and its lanes. Bounds torch's threads accordingly."""
    try:
        plan = plan_device(settings.device, settings.lanes, settings.cores)
    except DeviceUnavailable as error:
        raise SettingsError(f"ZOO_DEVICE: {error}") from None
    limit_threads(plan)
    return plan


async def open_database(settings: Settings) -> Database:
    """The database of jobs and aliases, with its schema migrated."""
    _check_home(settings)
    _hold_home(settings)
    try:
        database = Database(database_url(settings.database_url, settings.home))
        await database.open()
    except DatabaseError as error:
        raise SettingsError(f"{'ZOO_DATABASE_URL' if settings.database_url else 'ZOO_HOME'}: {error}") from None
    return database


def _check_home(settings: Settings) -> None:
    """ZOO_HOME must be writable: it holds versions, datasets and jobs, wherever the database is."""
    home = settings.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or "it is no name of a folder").lower()
        raise SettingsError(f"ZOO_HOME: nothing can be written in {printable_path(home)}: {why}") from None
    for name in HOME_FOLDERS:
        if (home / name).exists() and not (home / name).is_dir():
            raise SettingsError(f"ZOO_HOME: {home / name} is no folder; `zoo doctor --quarantine` moves it aside")


def warn_of_service_variables(settings: Settings) -> None:
    """Warns of variables in the environment that look like ports of Zoo and are ignored."""
    for name, variable in service_variables().items():
        log.warning(
            "a variable of the environment is ignored: Kubernetes sets it for a Service of that name, and it is no setting; "
            "`enableServiceLinks: false` in the pod keeps it out",
            variable=variable,
            value=os.environ.get(variable, ""),
            instead=f"{name} {getattr(settings, name)}",
        )


def allow_files() -> None:
    """Raises the limit of open files and connections as far as the system allows; the default is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def keepalive(settings: Settings) -> list[tuple[str, int]]:
    """Channel arguments of gRPC: when the server pings, and which pings of clients it accepts."""
    return [
        ("grpc.keepalive_time_ms", settings.keepalive_time_ms),
        ("grpc.keepalive_timeout_ms", settings.keepalive_timeout_ms),
        ("grpc.keepalive_permit_without_calls", int(settings.keepalive_permit_without_calls)),
        ("grpc.http2.min_ping_interval_without_data_ms", settings.keepalive_min_ping_interval_without_data_ms),
        ("grpc.http2.max_ping_strikes", settings.keepalive_max_ping_strikes),
        ("grpc.http2.max_pings_without_data", settings.keepalive_max_pings_without_data),
    ]


def _hold_home(settings: Settings) -> None:
    """Holds a shared lock on ZOO_HOME until the process ends: `zoo doctor --quarantine` and `zoo cache prune` need the
    home without servers."""
    home = settings.home.absolute()
    try:
        free = try_lock(home / HOME_LOCK, exclusive=False) is not None
    except OSError as error:
        why = (error.strerror or "unknown reason").lower()
        raise SettingsError(f"ZOO_HOME: {home / HOME_LOCK} cannot be locked: {why}") from None
    if not free:
        raise SettingsError(
            f"ZOO_HOME: `zoo doctor --quarantine` or `zoo cache prune` works on {home}; start again when it has ended"
        )


def check_shared_memory(settings: Settings) -> None:
    """Raises SettingsError if shared memory is on where callers of other machines can connect, or where the system has none."""
    if settings.shared_memory == "off":
        return
    if not OBJECTS.is_dir():
        raise SettingsError(f"ZOO_SHARED_MEMORY is 'system': this system has no {OBJECTS}")
    if not is_unix(settings.host) and not is_loopback(settings.host):
        raise SettingsError(
            f"ZOO_SHARED_MEMORY is 'system': expected a loopback address or a unix: socket as ZOO_HOST, got {settings.host!r}, "
            "where callers of other machines can connect"
        )


def bind(
    server: aio.Server, settings: Settings, credentials: ServerCredentials | None
) -> tuple[int, UnixSocket | None]:
    """Opens the gRPC port and returns its number, or 0 and the Unix socket. The server answers once it is started. Without
    credentials the port speaks plain text, as the socket always does."""
    if is_unix(settings.host):
        return 0, _bind_socket(server, settings)
    where = f"{host_and_port(settings.host, settings.port)} for gRPC"
    try:
        _try_to_bind(settings.host, settings.port)  # gRPC writes to stderr itself and does not give the reason
        check_exposure(settings)  # again: the name may have had no address before
        address = host_and_port(settings.host, settings.port)
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except (OSError, UnicodeError) as error:
        raise SettingsError(_cannot_listen(where, error, GRPC_PORT)) from None
    except RuntimeError:
        port = 0
    if not port:
        or_tls = ", or can gRPC not use the files of ZOO_TLS_CERT_FILE and ZOO_TLS_KEY_FILE" if credentials else ""
        raise SettingsError(f"cannot listen on {where}; is another server running there{or_tls}?")
    return port, None


def _bind_socket(server: aio.Server, settings: Settings) -> UnixSocket:
    found = UnixSocket(Path(settings.host.removeprefix(UNIX)), int(settings.socket_mode, 8))
    try:
        found.bind(lambda: server.add_insecure_port(settings.host))
    except SocketTaken as taken:
        raise SettingsError(f"cannot listen on {settings.host} for gRPC{taken}") from None
    except RuntimeError:
        raise SettingsError(f"cannot listen on {settings.host} for gRPC; may this user write in its folder?") from None
    except OSError as error:
        raise SettingsError(_cannot_listen(f"{settings.host} for gRPC", error, "")) from None
    return found


def _try_to_bind(host: str, port: int) -> None:
    """Binds and closes again. Raises OSError with the reason, UnicodeError for a text that cannot be a name."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def _cannot_listen(where: str, error: Exception, choice: str) -> str:
    """`choice`: the settings that name another port; empty where there is no port."""
    if not isinstance(error, OSError):
        return f"cannot listen on {where}: that is no name of a host"
    if error.errno == errno.EADDRINUSE:
        other = f" {choice} names another port." if choice else ""
        return f"cannot listen on {where}; is another server running there?{other}"
    return f"cannot listen on {where}: {(error.strerror or 'unknown reason').lower()}"


def open_traces(settings: Settings, task_of: Callable[[str], str]) -> TracingService | None:
    """Traces to the collector of the settings; None without one. No package of OpenTelemetry is imported then."""
    if not settings.otlp_endpoint:
        return None
    if problem := environment_problem(settings.otlp_endpoint, os.environ):
        raise SettingsError(problem)
    try:
        return open_tracing(
            settings.otlp_endpoint,
            settings.trace_sample_ratio,
            task_of,
            asks_for_tokens=settings.tokens == "required",
        )
    except ImportError:
        raise SettingsError(
            "ZOO_OTLP_ENDPOINT: the packages of OpenTelemetry are missing; install zoo-serving[server]"
        ) from None
    except Exception:  # the exporter raises errors of any kind; their texts may repeat values, which may be keys
        raise SettingsError(
            "ZOO_OTLP_ENDPOINT: a variable OTEL_… of the environment has a value that OpenTelemetry's exporter cannot use"
        ) from None


def open_http(
    settings: Settings,
    metrics: CollectorRegistry,
    health: Callable[[], tuple[bool, bool]],
    tls: Tls | None,
    may_read_metrics: Authorize,
) -> HttpPort:
    """The port of the metrics and probes. It answers once it is started."""
    access = HttpAccess(
        context=None if tls is None else lambda: tls.context,
        certificate_required=tls is not None and tls.clients_need_certificates,
        metrics=settings.metrics != "off",
        authorize=may_read_metrics if settings.metrics == "token" else anyone,
    )
    try:
        return HttpPort(settings.http_host, settings.http_port, metrics, health, access, prometheus_format.encode)
    except (OSError, UnicodeError) as error:
        where = f"{host_and_port(settings.http_host, settings.http_port)} for /metrics"
        raise SettingsError(_cannot_listen(where, error, HTTP_PORT)) from None
