#!/usr/bin/env bash
# Builds the container and runs it beside Prometheus on a real Docker daemon, as a user would, and takes all of it down.
#
#   tests/deploy/run.sh            everything; one line PASS or FAIL for each thing demanded; exit code 1 if one failed
#   tests/deploy/run.sh --clean    removes what earlier runs keep to be quick (images, in the cache folder)
#
# Uses the Docker daemon that answers; without one, installs Docker (Debian, as root) and runs a daemon of its own. Where
# no image can be pulled, it builds stand-ins: Debian's Python for python:3.11-slim, Debian's Prometheus for prom/prometheus.
# What this machine tells pip (PIP_*, pip.conf; also local folders of wheels) and the certificates that it trusts beside
# the usual ones reach the build through its build arguments.
#
#   ZOO_DEPLOY_CACHE      where a daemon of its own keeps images (about 25 GB with CUDA); default ~/.cache/zoo-deploy-test
#   ZOO_DEPLOY_NETWORK    bridge, host or auto: the network of the running containers; auto tries
#   ZOO_DEPLOY_PYTHON     the Python that has zoo-serving installed, for the client outside; default .venv/bin/python
#   DEVICE, TORCH_INDEX_URL, PYTHON_IMAGE, PROMETHEUS_IMAGE, EXTRA_CA   as docker-compose.yml knows them

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
HERE="${ROOT}/tests/deploy"
CACHE="${ZOO_DEPLOY_CACHE:-${XDG_CACHE_HOME:-${HOME}/.cache}/zoo-deploy-test}"
PYTHON="${ZOO_DEPLOY_PYTHON:-${ROOT}/.venv/bin/python}"
MODEL=efficientnet_lite0
PHOTO="${ROOT}/examples/cat.jpg"
PULLED_PYTHON=python:3.11-slim
PULLED_PROMETHEUS="$(sed -n 's/.*PROMETHEUS_IMAGE:-\(.*\)}.*/\1/p' "${ROOT}/docker-compose.yml")"
STANDIN_PYTHON=zoo-deploy-test/python:3.11-slim
STANDIN_PROMETHEUS=zoo-deploy-test/prometheus:debian
STANDIN_SUITE=bookworm # the Debian whose Python is 3.11
NEEDED_GB=30

export ZOO_IMAGE=zoo-deploy-test/zoo:latest
export COMPOSE_PROJECT_NAME="zoo-deploy-test-$$"
export DOCKER_CLI_HINTS=false

failures=0
dockerd_pid=""
wheels_pid=""
started_compose=""
WORK=""
COMPOSE=()

# ── saying ──────────────────────────────────────────────────────────────────────────────────────────────────────────

step() { printf '\n[%4ds] %s\n' "${SECONDS}" "$*"; }
pass() { printf 'PASS  %s\n' "$*"; }
fail() {
    printf 'FAIL  %s\n' "$*"
    failures=$((failures + 1))
}
die() {
    fail "$*"
    exit 1
}
# check WHAT COMMAND…: PASS if the command succeeds.
check() {
    local what="$1"
    shift
    if "$@"; then pass "${what}"; else fail "${what}"; fi
}
# quietly NAME COMMAND…: output to a log, shown only if the command fails.
quietly() {
    local log="${WORK}/$1.log"
    shift
    "$@" >"${log}" 2>&1 && return 0
    tail -n 40 "${log}" >&2
    return 1
}
# await SECONDS COMMAND…: until the command succeeds. The pause is between looks, not the wait itself.
await() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.3
    done
}

# ── taking down ─────────────────────────────────────────────────────────────────────────────────────────────────────

gone() { ! kill -0 "$1" 2>/dev/null; }

# Ends a process of ours by its id: asks, and insists after a while.
end_process() {
    gone "$1" && return 0
    kill -TERM "$1"
    await 60 gone "$1" || kill -KILL "$1"
    wait "$1" 2>/dev/null || true
}

# Processes whose command line names our folder; this script's own are not among them.
left_over() {
    local entry
    for entry in /proc/[0-9]*; do
        if [[ "${entry##*/}" != "$$" ]] && tr '\0' ' ' <"${entry}/cmdline" 2>/dev/null | grep -qF -- "${WORK}"; then
            printf '%s ' "${entry##*/}"
        fi
    done
}
nothing_left() { [[ -z "$(left_over)" ]]; }

take_down() {
    local code=$?
    trap - EXIT INT TERM
    set +e
    step "taking down"
    if [[ -n "${started_compose}" ]]; then
        if ((failures > 0 || code > 0)); then
            timeout 60 "${COMPOSE[@]}" logs --tail 60 2>&1 | tail -n 120
        fi
        timeout 180 docker rm --force --volumes "${COMPOSE_PROJECT_NAME}"-{brief,offline} >/dev/null 2>&1
        check "compose goes down with its volumes" quietly down timeout 180 "${COMPOSE[@]}" down --volumes --timeout 60
    fi
    [[ -z "${wheels_pid}" ]] || end_process "${wheels_pid}"
    if [[ -n "${dockerd_pid}" ]]; then
        end_process "${dockerd_pid}"
        [[ -n "${had_docker0}" ]] || ip link delete docker0 2>/dev/null
    fi
    check "no process is left" await 20 nothing_left
    awk -v work="${WORK}/" 'index($2, work) == 1 { print $2 }' /proc/mounts | tac | xargs --no-run-if-empty umount
    rm -rf --one-file-system "${WORK}"
    printf '\n%s in %d s\n' "$( ((failures == 0 && code == 0)) && echo 'ALL PASS' || echo 'FAILED')" "${SECONDS}"
    ((failures == 0)) || exit 1
    exit "${code}"
}

# ── components ──────────────────────────────────────────────────────────────────────────────────────────────────────

has() { command -v "$1" >/dev/null; }

# need PACKAGE COMMAND: installs Debian's package if the command is missing.
need() {
    has "$2" && return 0
    if ! has apt-get || [[ "$(id -u)" != 0 ]]; then die "$2 is missing; install $1"; fi
    quietly "apt-$1" timeout 600 apt-get install --yes --no-install-recommends "$1" && return 0
    quietly apt-update timeout 300 apt-get update || die "apt-get update"
    quietly "apt-$1" timeout 600 apt-get install --yes --no-install-recommends "$1" || die "$1 cannot be installed"
}

docker_answers() { timeout 20 docker info >/dev/null 2>&1; }

# start_dockerd FLAG…: a daemon of our own; its images outlive the run, all else is in our folder.
start_dockerd() {
    dockerd --host "${DOCKER_HOST}" --data-root "${CACHE}/docker" --exec-root "${WORK}/exec" --pidfile "${WORK}/dockerd.pid" \
        --default-ulimit nofile=20000:20000 "$@" >"${WORK}/dockerd.log" 2>&1 &
    dockerd_pid=$!
    await 60 eval "docker_answers || gone ${dockerd_pid}"
    docker_answers && return 0
    end_process "${dockerd_pid}"
    dockerd_pid=""
    return 1
}

provide_docker() {
    if has docker && docker_answers; then
        step "the Docker daemon that runs here is used"
        return
    fi
    need docker.io dockerd
    [[ "$(id -u)" == 0 ]] || die "no Docker daemon answers, and only root can start one"
    local free_gb
    mkdir -p "${CACHE}"
    exec {lock}>"${CACHE}/lock"
    flock --wait 3600 "${lock}" || die "another run holds ${CACHE}"
    free_gb="$(df --output=avail --block-size=1G "${CACHE}" | tail -n 1 | tr -d ' ')"
    if [[ ! -e "${CACHE}/docker" ]] && ((free_gb < NEEDED_GB)); then
        die "${CACHE} has ${free_gb} GB free; the build may need ${NEEDED_GB} (set ZOO_DEPLOY_CACHE)"
    fi
    export DOCKER_HOST="unix://${WORK}/docker.sock"
    step "starting a Docker daemon; its images are kept in ${CACHE}"
    if ! start_dockerd; then
        bridge_works=""
        start_dockerd --bridge=none --iptables=false --ip6tables=false || {
            tail -n 30 "${WORK}/dockerd.log" >&2
            die "dockerd does not start"
        }
    fi
    # What a run left that was killed; all in this folder is ours.
    docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes >/dev/null
    docker volume prune --force >/dev/null
    docker image prune --force --filter until=168h >/dev/null # steps of builds that are no longer made so
    free_gb="$(df --output=avail --block-size=1G "${CACHE}" | tail -n 1 | tr -d ' ')"
    if ((free_gb < NEEDED_GB)); then docker image prune --force >/dev/null; fi
}

provide_compose() {
    local command=(docker-compose)
    if docker compose version >/dev/null 2>&1; then command=(docker compose); else need docker-compose docker-compose; fi
    COMPOSE=("${command[@]}" --project-directory "${ROOT}" --file "${ROOT}/docker-compose.yml"
        --file "${HERE}/compose.override.yml")
    "${command[@]}" version | sed -n 1p
}

have_image() { docker image inspect "$1" >/dev/null 2>&1; }
pulled() { have_image "$1" || timeout 600 docker pull --quiet "$1" >/dev/null 2>&1; }

# The base of the image: as given, pulled, or Debian's Python under the name that the official image gives it.
provide_python_image() {
    if [[ -z "${PYTHON_IMAGE:-}" ]]; then
        export PYTHON_IMAGE="${STANDIN_PYTHON}"
        if have_image "${STANDIN_PYTHON}"; then return; fi
        if pulled "${PULLED_PYTHON}"; then
            export PYTHON_IMAGE="${PULLED_PYTHON}"
            return
        fi
        step "${PULLED_PYTHON} cannot be pulled: building a stand-in with debootstrap"
        need debootstrap debootstrap
        local tree="${WORK}/base" mirror
        # shellcheck disable=SC2016 # apt-get expands it
        mirror="$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: ${STANDIN_SUITE}" | sed -n 1p)"
        quietly debootstrap timeout 900 nice debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv \
            "${STANDIN_SUITE}" "${tree}" ${mirror:+"${mirror}"} || die "debootstrap"
        rm -rf "${tree}"/var/cache/apt/archives/*.deb "${tree}"/var/lib/apt/lists/* "${tree}"/usr/share/doc/*
        ln -s /usr/bin/python3 "${tree}/usr/local/bin/python"
        tar -C "${tree}" -c . | docker import --change 'CMD ["python"]' - "${STANDIN_PYTHON}" >/dev/null
        rm -rf --one-file-system "${tree}"
    fi
}

provide_prometheus_image() {
    if [[ -z "${PROMETHEUS_IMAGE:-}" ]]; then
        export PROMETHEUS_IMAGE="${STANDIN_PROMETHEUS}"
        if have_image "${STANDIN_PROMETHEUS}"; then return; fi
        if pulled "${PULLED_PROMETHEUS}"; then
            export PROMETHEUS_IMAGE="${PULLED_PROMETHEUS}"
            return
        fi
        step "${PULLED_PROMETHEUS} cannot be pulled: building a stand-in from Debian's Prometheus"
        need prometheus prometheus
        local tree="${WORK}/prometheus" library
        install -D "$(command -v prometheus)" "${tree}/bin/prometheus"
        install -d -o 65534 -g 65534 "${tree}/prometheus"
        install -d -m 1777 "${tree}/tmp"
        for library in $(ldd "${tree}/bin/prometheus" | grep -o '/[^ ]*'); do
            install -D "${library}" "${tree}${library}"
        done
        tar -C "${tree}" -c . | docker import --change 'USER 65534' --change 'ENTRYPOINT ["/bin/prometheus"]' \
            --change 'CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]' \
            --change 'VOLUME ["/prometheus"]' --change 'WORKDIR /prometheus' - "${STANDIN_PROMETHEUS}" >/dev/null
    fi
}

# ── the build ───────────────────────────────────────────────────────────────────────────────────────────────────────

free_port() { "${PYTHON}" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
is_free() { "${PYTHON}" -c 'import socket, sys; socket.socket().bind(("127.0.0.1", int(sys.argv[1])))' "$1" 2>/dev/null; }

# What pip was told here, for the build (exported) and for the running container (kept in run_pip). The port is
# remembered, since Docker builds the packages anew when an address changes.
lend_pip_settings() {
    local port kind setting
    mkdir -p "${CACHE}"
    port="$(cat "${CACHE}/wheels.port" 2>/dev/null || true)"
    if [[ -z "${port}" ]] || ! is_free "${port}"; then port="$(free_port)"; fi
    echo "${port}" >"${CACHE}/wheels.port"
    "${PYTHON}" "${HERE}/pip_settings.py" "${port}" >"${WORK}/pip_settings" 2>"${WORK}/pip_settings.log" &
    wheels_pid=$!
    await 30 grep -q '^serving$' "${WORK}/pip_settings" || die "pip's settings: $(cat "${WORK}/pip_settings.log")"
    unset PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_TRUSTED_HOST
    while read -r kind setting; do
        case "${kind}" in
            build) export "${setting?}" ;;
            run) run_pip+=("${setting}") ;;
        esac
    done <"${WORK}/pip_settings"
}

lend_certificates() {
    local folder=/usr/local/share/ca-certificates
    if [[ -z "${EXTRA_CA:-}" ]] && compgen -G "${folder}/*.crt" >/dev/null; then EXTRA_CA="$(cat "${folder}"/*.crt)"; fi
    export EXTRA_CA="${EXTRA_CA:-}"
}

build() {
    step "building the image (the first time takes minutes)"
    lend_pip_settings
    lend_certificates
    local before="${SECONDS}"
    check "the image builds" quietly build timeout 3000 nice "${COMPOSE[@]}" build zoo || true
    have_image "${ZOO_IMAGE}" || die "there is no image"
    ((failures == 0)) || exit 1
    printf 'built in %d s; %s MB\n' $((SECONDS - before)) \
        $(($(docker image inspect --format '{{.Size}}' "${ZOO_IMAGE}") / 1000000))
    end_process "${wheels_pid}"
    wheels_pid=""
    # From here on, what a container on its own can use.
    unset PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_TRUSTED_HOST
    local setting
    for setting in "${run_pip[@]}"; do
        [[ "${setting}" == *= ]] || export "${setting?}"
    done
}

image_says() { [[ "$(docker image inspect --format "$1" "${ZOO_IMAGE}")" == "$2" ]]; }
no_index_in_history() {
    local history
    history="$(docker history --no-trunc --format '{{.CreatedBy}}' "${ZOO_IMAGE}")" &&
        grep -q 'COPY' <<<"${history}" && ! grep -qE 'PIP_(EXTRA_)?INDEX_URL|PIP_FIND_LINKS|TORCH_INDEX_URL' <<<"${history}"
}
in_image() { timeout 60 docker run --rm --network none --entrypoint sh "${ZOO_IMAGE}" -c "$1"; }

check_image() {
    step "what the image says of itself"
    check "its user is a number other than 0" image_says '{{.Config.User}}' 10001:10001
    check "it stops by SIGTERM" image_says '{{.Config.StopSignal}}' SIGTERM
    check "its volume is ZOO_HOME" image_says '{{json .Config.Volumes}}' '{"/var/lib/zoo":{}}'
    check "no address of a package index in its history" no_index_in_history
    # shellcheck disable=SC2016 # the shell in the container expands it
    check "neither tests, nor the build's folder, nor a cache in it" in_image \
        '[ ! -e /build ] && [ ! -e /opt/zoo/lib/python3.*/site-packages/tests ] && [ ! -e "$HOME/.cache" ]'
}

# ── running ─────────────────────────────────────────────────────────────────────────────────────────────────────────

# Whether a container on a network of its own reaches what this machine reaches.
choose_network() {
    local mode="${ZOO_DEPLOY_NETWORK:-auto}"
    if [[ "${mode}" == auto ]]; then
        mode=host
        # shellcheck disable=SC2016
        local reach='import socket, sys; from urllib.parse import urlsplit as u; a = u(sys.argv[1]); socket.create_connection((a.hostname, a.port or (443 if a.scheme == "https" else 80)), 5)'
        local index="${PIP_INDEX_URL:-}"
        [[ -n "${index}" ]] || index="$("${PYTHON}" -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)')"
        if [[ -n "${bridge_works}" ]] &&
            timeout 30 docker run --rm --entrypoint python "${ZOO_IMAGE}" -c "${reach}" "${index}" 2>/dev/null; then
            mode=bridge
        fi
    fi
    grpc_port="$(free_port)" http_port="$(free_port)" prometheus_port="$(free_port)"
    if [[ "${mode}" == bridge ]]; then
        export ZOO_PUBLISHED_PORT="${grpc_port}" ZOO_PUBLISHED_HTTP_PORT="${http_port}"
        export PROMETHEUS_PUBLISHED_PORT="${prometheus_port}"
    else
        "${PYTHON}" "${HERE}/on_host_network.py" "${WORK}" "${grpc_port}" "${http_port}" "${prometheus_port}"
        local index
        for index in "${!COMPOSE[@]}"; do
            [[ "${COMPOSE[index]}" != "${ROOT}/docker-compose.yml" ]] || COMPOSE[index]="${WORK}/compose.yml"
        done
    fi
    step "containers use the ${mode} network"
}

zoo() { timeout 120 "${PYTHON}" -c 'from service.cli.main import main; main()' "$@"; }
health_of() { docker inspect --format '{{.State.Health.Status}}' "$1"; }
is_healthy() { [[ "$(health_of "$1")" == healthy ]]; }
names_a_cat() { "${PYTHON}" -c 'import json, sys; top = json.load(sys.stdin)["labels"][0]; print("     ", top); sys.exit("cat" not in top["name"].split())'; }
classified_outside() { (cd "${ROOT}" && zoo predict "${MODEL}" "${PHOTO}" --server "127.0.0.1:${grpc_port}" --json) | names_a_cat; }
# Requests of the method that the photo took, as Prometheus has them.
counted() {
    timeout 10 "${PYTHON}" - "$1" "http://127.0.0.1:${prometheus_port}/api/v1/query" <<'PY'
import json, sys
from urllib.parse import urlencode
from urllib.request import urlopen

query = 'sum(zoo_requests_total{job="zoo",method=~".*Predict",code="OK"})'
with urlopen(f"{sys.argv[2]}?{urlencode({'query': query})}", timeout=5) as reply:
    result = json.load(reply)["data"]["result"]
sys.exit(not result or float(result[0]["value"][1]) != float(sys.argv[1]))
PY
}
targets_up() {
    timeout 10 "${PYTHON}" - "http://127.0.0.1:${prometheus_port}/api/v1/targets" <<'PY'
import json, sys
from urllib.request import urlopen

with urlopen(sys.argv[1], timeout=5) as reply:
    targets = json.load(reply)["data"]["activeTargets"]
sys.exit(not targets or any(target["health"] != "up" for target in targets))
PY
}
inside() { timeout 60 docker exec "$@"; }
runs_as_nobody() { [[ "$(inside "$1" sh -c 'grep -h ^Uid: /proc/[0-9]*/status | sort -u')" == $'Uid:\t10001\t10001\t10001\t10001' ]]; }
has_no_capability() { [[ "$(inside "$1" sed -n 's/^CapEff:\t*//p;s/^CapBnd:\t*//p' /proc/self/status | sort -u)" == 0000000000000000 ]]; }
# shellcheck disable=SC2016 # the shell in the container expands it
is_read_only() { [[ "$(inside "$1" sh -c 'for d in /opt/zoo /etc /; do touch "$d/x" 2>&1; done' | grep -c 'Read-only file system')" == 3 ]]; }
exited_with_0() { [[ "$(docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$1")" == "exited 0" ]]; }
drained() {
    docker logs "$1" 2>&1 | grep -E '"event": "(draining|stopped)"' | tail -n 2 | tr '\n' ' ' |
        grep -qE '"draining".*"all_answered": true.*"stopped"|"draining".*"stopped".*"all_answered": true'
}

run_compose() {
    choose_network
    started_compose=yes
    local before="${SECONDS}" container
    # Prometheus waits for zoo to be healthy, which waits for the weights.
    check "compose starts both, Prometheus after a healthy zoo" quietly up timeout 900 "${COMPOSE[@]}" up --detach --no-build
    container="$("${COMPOSE[@]}" ps --quiet zoo)"
    if [[ -z "${container}" ]]; then die "there is no container"; fi
    check "it is healthy" await 600 is_healthy "${container}"
    printf '%d s from nothing to healthy, the weights fetched\n' $((SECONDS - before))

    step "a client outside, and Prometheus"
    check "a client outside the container is told of a cat" classified_outside
    check "Prometheus counts exactly that one request" await 60 counted 1
    check "all targets of Prometheus are up" await 60 targets_up

    step "how it runs"
    check "every process in it has user id 10001" runs_as_nobody "${container}"
    check "it has no capability" has_no_capability "${container}"
    check "its root file system is read-only" is_read_only "${container}"

    step "stopping it in the middle of a request"
    check "the request in flight is answered, new ones are refused" timeout 300 env PYTHONPATH="${ROOT}" \
        "${PYTHON}" "${HERE}/stop_in_flight.py" "127.0.0.1:${grpc_port}" "http://127.0.0.1:${http_port}/metrics" "${PHOTO}" \
        timeout 120 docker stop -t 45 "${container}"
    check "its exit code is 0" exited_with_0 "${container}"
    check "its log tells of draining, then stopped, with all answered" drained "${container}"
    volume="$(docker inspect --format '{{range .Mounts}}{{if eq .Destination "/var/lib/zoo"}}{{.Name}}{{end}}{{end}}' "${container}")"
}

classified_inside() { inside --interactive "$1" zoo predict "${MODEL}" - --json <"${PHOTO}" | names_a_cat; }

run_briefly() {
    step "stopping it while it still starts"
    local before="${SECONDS}"
    docker run --detach --rm --init --network none --name "${COMPOSE_PROJECT_NAME}-brief" "${ZOO_IMAGE}" >/dev/null
    check "docker stop" quietly brief timeout 60 docker stop -t 45 "${COMPOSE_PROJECT_NAME}-brief"
    check "it stopped at once" test $((SECONDS - before)) -le 10
}

run_offline() {
    step "a second start from the kept volume, with no network at all"
    local name="${COMPOSE_PROJECT_NAME}-offline" before="${SECONDS}"
    check "it starts" quietly offline docker run --detach --name "${name}" --network none --read-only --tmpfs /tmp \
        --cap-drop ALL --security-opt no-new-privileges --env ZOO_OFFLINE=1 --volume "${volume}:/var/lib/zoo" \
        --health-interval 2s "${ZOO_IMAGE}"
    check "it is healthy" await 180 is_healthy "${name}"
    printf '%d s from nothing to healthy\n' $((SECONDS - before))
    check "a client inside is told of a cat" classified_inside "${name}"
    before="${SECONDS}"
    check "docker stop, without an init of Docker's" quietly stop timeout 60 docker stop -t 45 "${name}"
    check "its exit code is 0" exited_with_0 "${name}"
    check "it stopped at once, having nothing in flight" test $((SECONDS - before)) -le 10
    check "its log tells of draining, then stopped" drained "${name}"
}

# ── main ────────────────────────────────────────────────────────────────────────────────────────────────────────────

had_docker0=""
bridge_works=yes
run_pip=()
volume=""
grpc_port="" http_port="" prometheus_port=""

case "${1:-}" in
    "") ;;
    --clean)
        rm -rf --one-file-system "${CACHE}"
        exit 0
        ;;
    *)
        sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 2
        ;;
esac

[[ -x "${PYTHON}" ]] || die "${PYTHON} is missing; run 'make setup' first"
WORK="$(mktemp --directory "${TMPDIR:-/tmp}/zoo-deploy.XXXXXX")"
chmod 0755 "${WORK}"
trap take_down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
[[ ! -e /sys/class/net/docker0 ]] || had_docker0=yes

provide_docker
provide_compose
provide_python_image
provide_prometheus_image
build
check_image
run_briefly
run_compose
run_offline
