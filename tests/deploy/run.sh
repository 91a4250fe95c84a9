#!/usr/bin/env bash
# Builds the container and runs it with its database, Prometheus and Alertmanager on a real Docker daemon, as a user would, first as
# docker-compose.yml has it, then with TLS and tokens; and takes all of it down.
#
#   tests/deploy/run.sh            everything; one line PASS or FAIL for each thing demanded; exit code 1 if one failed
#   tests/deploy/run.sh --build    only builds the images, for a run that is quicker
#   tests/deploy/run.sh --clean    removes what earlier runs keep to be quick (images, in the cache folder)
#
# Uses the Docker daemon that answers; without one, installs Docker (Debian, as root) and runs a daemon of its own. Where
# no image can be pulled, it builds stand-ins from Debian's packages: Python, Prometheus, Alertmanager, PostgreSQL. Debian has no
# Grafana, so without its image Grafana is left out; tests/deploy/test_dashboards.py reads its files.
# What this machine tells pip (PIP_*, pip.conf; also local folders of wheels) and the certificates that it trusts beside
# the usual ones reach the build through its build arguments.
#
#   ZOO_DEPLOY_CACHE      where a daemon of its own keeps images (about 25 GB with CUDA); default ~/.cache/zoo-deploy-test
#   ZOO_DEPLOY_NETWORK    bridge, host or auto: the network of the running containers; auto tries
#   ZOO_DEPLOY_PYTHON     the Python that has zoo-serving installed, for the client outside; default .venv/bin/python
#   DEVICE, TORCH_INDEX_URL, PYTHON_IMAGE, PROMETHEUS_IMAGE, EXTRA_CA and so on   as docker-compose.yml knows them

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
HERE="${ROOT}/tests/deploy"
CACHE="${ZOO_DEPLOY_CACHE:-${XDG_CACHE_HOME:-${HOME}/.cache}/zoo-deploy-test}"
PYTHON="${ZOO_DEPLOY_PYTHON:-${ROOT}/.venv/bin/python}"
MODEL=efficientnet_lite0
PHOTO="${ROOT}/examples/cat.jpg"
PULLED_PYTHON=python:3.11-slim
# pulled_image NAME: what docker-compose.yml takes where NAME_IMAGE is not set.
pulled_image() { sed -n "s/.*$1_IMAGE:-\(.*\)}.*/\1/p" "${ROOT}/docker-compose.yml"; }
STANDIN=zoo-deploy-test
STANDIN_PYTHON="${STANDIN}/python:3.11-slim"
STANDIN_TAG=debian-3 # another number where the stand-ins change
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
COMPOSE=() # the command with the files of the set that runs
SERVICES=(zoo prometheus alertmanager)

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
    local more
    check "docker-compose.yml is valid" quietly config "${COMPOSE[@]}" config --quiet
    for more in secured gpu; do
        check "it is valid with docker-compose.${more}.yml" quietly config "${COMPOSE[@]}" --file "${ROOT}/docker-compose.${more}.yml" \
            config --quiet
    done
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

# standin_of_programs NAME COMMAND… -- PROGRAM…: an image of Debian's programs and their libraries, with no shell, for the user 65534.
standin_of_programs() {
    local name="$1" tree="${WORK}/$1" command=() program library entry
    shift
    while [[ "$1" != -- ]]; do
        command+=("\"$1\"")
        shift
    done
    shift
    for program in "$@"; do
        install -D "$(command -v "${program}")" "${tree}/bin/${program}"
        for library in $(ldd "${tree}/bin/${program}" | grep -o '/[^ ]*'); do
            install -D "${library}" "${tree}${library}"
        done
    done
    # Debian keeps the templates of Alertmanager beside the program.
    if [[ -d "/usr/share/prometheus/${name}" ]]; then
        install -d "${tree}/usr/share/prometheus"
        cp -rL "/usr/share/prometheus/${name}" "${tree}/usr/share/prometheus/"
    fi
    install -d -o 65534 -g 65534 "${tree}/${name}"
    install -d -m 1777 "${tree}/tmp"
    entry="[\"/bin/$1\"]"
    tar -C "${tree}" -c . | docker import --change 'USER 65534' --change "ENTRYPOINT ${entry}" --change 'ENV PATH=/bin' \
        --change "CMD [$(IFS=,; echo "${command[*]}")]" --change "VOLUME [\"/${name}\"]" --change "WORKDIR /${name}" \
        - "${STANDIN}/${name}:${STANDIN_TAG}" >/dev/null
}
standin_prometheus() {
    need prometheus prometheus
    standin_of_programs prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/prometheus -- prometheus promtool
}
standin_alertmanager() {
    need prometheus-alertmanager prometheus-alertmanager
    need prometheus-alertmanager amtool
    # Debian gives the program another name than its project does.
    install -D "$(command -v prometheus-alertmanager)" "${WORK}/programs/alertmanager"
    PATH="${WORK}/programs:${PATH}"
    standin_of_programs alertmanager --config.file=/etc/alertmanager/alertmanager.yml --storage.path=/alertmanager -- alertmanager amtool
}
standin_postgres() {
    quietly postgres timeout 900 docker build --network host --build-arg "BASE=${PYTHON_IMAGE}" --tag "${STANDIN}/postgres:${STANDIN_TAG}" \
        "${HERE}/postgres"
}

# provide_image NAME: the image of another project: as given, pulled, or a stand-in.
provide_image() {
    local name="$1" variable="${1^^}_IMAGE" pulled_name
    [[ -z "${!variable:-}" ]] || return 0
    pulled_name="$(pulled_image "${name^^}")"
    export "${variable}=${STANDIN}/${name}:${STANDIN_TAG}"
    if have_image "${!variable}"; then return; fi
    if pulled "${pulled_name}"; then
        export "${variable}=${pulled_name}"
        return
    fi
    step "${pulled_name} cannot be pulled: building a stand-in from Debian's package"
    "standin_${name}" || die "there is no stand-in for ${name}"
}

provide_grafana_image() {
    if pulled "${GRAFANA_IMAGE:-$(pulled_image GRAFANA)}"; then
        SERVICES+=(grafana)
    else
        step "Grafana cannot be pulled and has no package in Debian: it is left out"
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

bill_lists_both() {
    docker run --rm --network none --entrypoint cat "${ZOO_IMAGE}" /usr/share/zoo-serving/sbom.cdx.json >"${WORK}/sbom.json" &&
        "${PYTHON}" - "${WORK}/sbom.json" <<'PY'
import json, sys

components = json.load(open(sys.argv[1]))["components"]
urls = [one.get("purl", "") for one in components]
kinds = [sum(url.startswith(f"pkg:{kind}/") for url in urls) for kind in ("pypi", "deb")]
print("      Python packages, Debian packages:", *kinds)
torch = any(url.startswith("pkg:pypi/torch@") for url in urls)
others = any("cyclonedx" in one["name"] for one in components)
sys.exit(not torch or others or min(kinds) < 50)
PY
}
refuses_setting() {
    local output code=0
    output="$(timeout 60 docker run --rm --network none --env "$1=$2" "${ZOO_IMAGE}" 2>&1)" || code=$?
    [[ "${code}" == 2 && "${output}" == *"$1 is "* ]]
}

check_image() {
    step "what the image says of itself"
    docker history --format '{{.Size}}\t{{.CreatedBy}}' "${ZOO_IMAGE}" | grep -E '^[0-9.]+(MB|GB)' | cut -c 1-110
    check "its user is a number other than 0" image_says '{{.Config.User}}' 10001:10001
    check "it stops by SIGTERM" image_says '{{.Config.StopSignal}}' SIGTERM
    check "its volume is ZOO_HOME" image_says '{{json .Config.Volumes}}' '{"/var/lib/zoo":{}}'
    check "no address of a package index in its history" no_index_in_history
    # shellcheck disable=SC2016 # the shell in the container expands it
    check "neither tests, nor the build's folder, nor a cache in it" in_image \
        '[ ! -e /build ] && [ ! -e /opt/sbom ] && [ ! -e /opt/zoo/lib/python3.*/site-packages/tests ] && [ ! -e "$HOME/.cache" ]'
    check "it has a bill of materials of its Python and Debian packages" bill_lists_both
    check "a wrong setting ends it with code 2 and the name of the setting" refuses_setting ZOO_TOKENS maybe
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
    grpc_port="$(free_port)" http_port="$(free_port)" prometheus_port="$(free_port)" alertmanager_port="$(free_port)"
    grafana_port="$(free_port)"
    if [[ "${mode}" == bridge ]]; then
        export ZOO_PUBLISHED_PORT="${grpc_port}" ZOO_PUBLISHED_HTTP_PORT="${http_port}"
        export PROMETHEUS_PUBLISHED_PORT="${prometheus_port}" ALERTMANAGER_PUBLISHED_PORT="${alertmanager_port}"
        export GRAFANA_PUBLISHED_PORT="${grafana_port}"
    else
        FILES="${WORK}"
        "${PYTHON}" "${HERE}/on_host_network.py" "${FILES}" "${grpc_port}" "${http_port}" "${prometheus_port}" \
            "${alertmanager_port}" "$(free_port)" "${grafana_port}"
        local index
        for index in "${!COMPOSE[@]}"; do
            [[ "${COMPOSE[index]}" != "${ROOT}/docker-compose.yml" ]] || COMPOSE[index]="${FILES}/docker-compose.yml"
        done
    fi
    step "containers use the ${mode} network"
}

zoo() { timeout 120 "${PYTHON}" -c 'from service.cli.main import main; main()' "$@"; }
health_of() { docker inspect --format '{{.State.Health.Status}}' "$1"; }
is_healthy() { [[ "$(health_of "$1")" == healthy ]]; }
names_a_cat() { "${PYTHON}" -c 'import json, sys; top = json.load(sys.stdin)["labels"][0]; print("     ", top); sys.exit("cat" not in top["name"].split())'; }
classified_outside() { (cd "${ROOT}" && zoo predict "${MODEL}" "${PHOTO}" --server "127.0.0.1:${grpc_port}" --json) | names_a_cat; }
# Requests of the method that the photo took, as Prometheus has them of the server that runs.
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
jobs = {target["labels"]["job"] for target in targets}
sys.exit(jobs != {"zoo", "prometheus"} or any(target["health"] != "up" for target in targets))
PY
}
inside() { timeout 60 docker exec "$@"; }

# fires NAME, is_over NAME: whether Alertmanager has the alert.
alerts() { timeout 10 "${PYTHON}" -c 'import json, sys, urllib.request as u; print([a["labels"]["alertname"] for a in json.load(u.urlopen(sys.argv[1], timeout=5)) if a["status"]["state"] == "active"])' "http://127.0.0.1:${alertmanager_port}/api/v2/alerts"; }
fires() { [[ "$(alerts)" == *"'$1'"* ]]; }
is_over() {
    local now
    now="$(alerts)" && [[ "${now}" != *"'$1'"* ]]
}

container_of() { "${COMPOSE[@]}" ps --quiet "$1"; }
is_safe() {
    local container="$1" pid
    pid="$(docker inspect --format '{{.State.Pid}}' "${container}")"
    [[ "$(docker inspect --format '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}}' "${container}")" == "true false" ]] &&
        [[ "$(awk '/^Uid:/ { print $2 == 0 || $3 == 0 }' "/proc/${pid}/status")" == 0 ]] &&
        [[ "$(awk '/^(CapEff|CapBnd|NoNewPrivs):/ { print $2 }' "/proc/${pid}/status" | tr '\n' ' ')" == "0000000000000000 0000000000000000 1 " ]]
}
runs_as_nobody() { [[ "$(inside "$1" sh -c 'grep -h ^Uid: /proc/[0-9]*/status | sort -u')" == $'Uid:\t10001\t10001\t10001\t10001' ]]; }
has_no_capability() { [[ "$(inside "$1" sed -n 's/^CapEff:\t*//p;s/^CapBnd:\t*//p' /proc/self/status | sort -u)" == 0000000000000000 ]]; }
# shellcheck disable=SC2016 # the shell in the container expands it
is_read_only() { [[ "$(inside "$1" sh -c 'for d in /opt/zoo /etc /; do touch "$d/x" 2>&1; done' | grep -c 'Read-only file system')" == 3 ]]; }
exited_with_0() { [[ "$(docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$1")" == "exited 0" ]]; }
drained() {
    docker logs "$1" 2>&1 | grep -E '"event": "(draining|stopped)"' | tail -n 2 | tr '\n' ' ' |
        grep -qE '"draining".*"all_answered": true.*"stopped"|"draining".*"stopped".*"all_answered": true'
}

refuses_open_address() {
    local output code=0
    output="$(timeout 60 "${COMPOSE[@]}" run --rm -T -e ZOO_BIND=0.0.0.0 prepare 2>&1)" || code=$?
    [[ "${code}" == 2 && "${output}" == *"ZOO_BIND is '0.0.0.0', which opens the ports"*"docker-compose.secured.yml"* ]]
}

run_compose() {
    choose_network
    started_compose=yes
    local before="${SECONDS}" container
    # Prometheus waits for zoo to be healthy, which waits for the weights.
    check "an address for other machines is refused without TLS and tokens" refuses_open_address
    check "compose starts ${SERVICES[*]} and the database" quietly up timeout 900 "${COMPOSE[@]}" up --detach --no-build "${SERVICES[@]}"
    container="$(container_of zoo)"
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
    local service
    for service in "${SERVICES[@]}" postgres; do
        check "${service}: not root, no capability, a read-only root file system" is_safe "$(container_of "${service}")"
    done

    step "stopping it in the middle of a request"
    check "the request in flight is answered, new ones are refused" timeout 300 env PYTHONPATH="${ROOT}" \
        "${PYTHON}" "${HERE}/stop_in_flight.py" "127.0.0.1:${grpc_port}" "http://127.0.0.1:${http_port}/metrics" "${PHOTO}" \
        timeout 120 docker stop -t 45 "${container}"
    check "its exit code is 0" exited_with_0 "${container}"
    check "its log tells of draining, then stopped, with all answered" drained "${container}"
    volume="$(docker inspect --format '{{range .Mounts}}{{if eq .Destination "/var/lib/zoo"}}{{.Name}}{{end}}{{end}}' "${container}")"
}

# ── TLS and tokens ──────────────────────────────────────────────────────────────────────────────────────────────────

# A client outside, with the CA and the token of a file.
zoo_with() {
    local token="$1"
    shift
    (cd "${ROOT}" && ZOO_TLS_CA_FILE="${WORK}/ca.crt" ZOO_TOKEN_FILE="${token}" ZOO_SERVER="127.0.0.1:${grpc_port}" zoo "$@")
}
classified_with() { zoo_with "$1" predict "${MODEL}" "${PHOTO}" --json | names_a_cat; }
refused_with() { # what the error must say, then a client's environment and command
    local wanted="$1" output code=0
    shift
    output="$(cd "${ROOT}" && timeout 60 env ZOO_SERVER="127.0.0.1:${grpc_port}" "$@" 2>&1)" || code=$?
    [[ "${code}" != 0 && "${output}" == *"${wanted}"* ]]
}
client=("${PYTHON}" -c 'from service.cli.main import main; main()' predict "${MODEL}" "${PHOTO}")

# As docs/operations.md has it.
hand_out() {
    "${COMPOSE[@]}" exec -T zoo cat /run/zoo/tls/ca.crt >"${WORK}/ca.crt" &&
        (umask 077 && "${COMPOSE[@]}" exec -T zoo zoo token create root --scope admin --local >"${WORK}/root.token") &&
        zoo_with "${WORK}/root.token" token create ada --scope infer --scope finetune --out "${WORK}/ada.token"
}
fine_tuned() {
    awk 'BEGIN { print "rooms,area,district,rent"; srand(7)
        for (i = 0; i < 200; i++) { r = 1 + int(rand() * 5); a = 20 * r + int(rand() * 15); n = rand() < 0.5
            print r "," a "," (n ? "north" : "south") "," 300 + 9 * a + (n ? 200 : 0) + int(rand() * 40) } }' >"${WORK}/flats.csv"
    zoo_with "${WORK}/ada.token" finetune tabular_mlp "${WORK}/flats.csv" --name flats --target rent
}
# Models, jobs and tokens, as the principal sees them.
has_all() {
    zoo_with "${WORK}/ada.token" predict flats '{"rooms": 3, "area": 70, "district": "north"}' &&
        zoo_with "${WORK}/ada.token" jobs --json | grep -q '"SUCCEEDED"' &&
        zoo_with "${WORK}/root.token" token list --json | grep -q '"ada"'
}

run_secured() {
    step "with TLS and tokens"
    local before="${SECONDS}" container
    COMPOSE+=(--file "${FILES}/docker-compose.secured.yml")
    check "compose starts it over what runs" quietly secured timeout 900 "${COMPOSE[@]}" up --detach --no-build "${SERVICES[@]}"
    container="$(container_of zoo)"
    check "it is healthy" await 300 is_healthy "${container}"
    check "CA and tokens are handed out" quietly tokens hand_out
    check "a client with a token over TLS is told of a cat" classified_with "${WORK}/ada.token"
    check "and again" classified_with "${WORK}/ada.token"
    printf '%d s from plain text to TLS and tokens\n' $((SECONDS - before))
    check "a client without a token is refused" refused_with token ZOO_TLS_CA_FILE="${WORK}/ca.crt" "${client[@]}"
    check "a client without the CA is refused" refused_with certificate ZOO_TLS=1 ZOO_TOKEN_FILE="${WORK}/ada.token" "${client[@]}"
    check "a client without TLS is refused" refused_with '' "${client[@]}"
    check "Prometheus counts exactly these two requests, over TLS with its token" await 60 counted 2
    check "all targets of Prometheus are up" await 60 targets_up
    check "a job makes a model" quietly finetune fine_tuned
    check "its owner sees the model, the job and the token" quietly sees has_all
    local service
    for service in "${SERVICES[@]}" postgres; do
        check "${service}: not root, no capability, a read-only root file system" is_safe "$(container_of "${service}")"
    done

    step "an alert, and a restart"
    check "no alert before" is_over ZooServerDown
    check "zoo stops" quietly stop timeout 120 docker stop -t 45 "${container}"
    check "its log tells of draining, then stopped" drained "${container}"
    check "ZooServerDown fires within four minutes" await 240 fires ZooServerDown
    check "zoo starts again" quietly start timeout 60 docker start "${container}"
    check "it is healthy" await 300 is_healthy "${container}"
    check "the alert is over" await 120 is_over ZooServerDown
    check "models, jobs and tokens are kept" quietly kept has_all

    step "a restart of all of it"
    check "compose stops all" quietly stop timeout 300 "${COMPOSE[@]}" stop
    check "its exit code is 0" exited_with_0 "${container}"
    check "compose starts all again" quietly again timeout 600 "${COMPOSE[@]}" up --detach --no-build "${SERVICES[@]}"
    check "it is healthy" await 300 is_healthy "${container}"
    check "models, jobs and tokens are kept" quietly kept has_all
    check "Prometheus reads the metrics with the token that it had" await 60 targets_up
    check "zoo stops" quietly stop timeout 120 docker stop -t 45 "${container}"
}

classified_inside() { inside --interactive "$1" zoo predict "${MODEL}" - --json <"${PHOTO}" | names_a_cat; }

run_briefly() {
    step "stopping it while it still starts"
    local before="${SECONDS}"
    docker run --detach --rm --init --network none --env ZOO_HOST=127.0.0.1 --name "${COMPOSE_PROJECT_NAME}-brief" "${ZOO_IMAGE}" >/dev/null
    check "docker stop" quietly brief timeout 60 docker stop -t 45 "${COMPOSE_PROJECT_NAME}-brief"
    check "it stopped at once" test $((SECONDS - before)) -le 10
}

run_offline() {
    step "a second start from the kept volume, with no network at all"
    local name="${COMPOSE_PROJECT_NAME}-offline" before="${SECONDS}"
    check "it starts" quietly offline docker run --detach --name "${name}" --network none --read-only --tmpfs /tmp \
        --cap-drop ALL --security-opt no-new-privileges --env ZOO_HOST=127.0.0.1 --env ZOO_OFFLINE=1 \
        --volume "${volume}:/var/lib/zoo" --health-interval 2s "${ZOO_IMAGE}"
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
grpc_port="" http_port="" prometheus_port="" alertmanager_port="" grafana_port=""
FILES="${ROOT}" # the folder of the compose files
only_build=""

case "${1:-}" in
    "") ;;
    --build) only_build=yes ;;
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
provide_image prometheus
provide_image alertmanager
provide_image postgres
provide_grafana_image
build
[[ -z "${only_build}" ]] || exit 0
check_image
run_briefly
run_compose
run_secured
run_offline
