"""From a card to a checked network: every failure is one sentence that a client may read."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file

from model_zoo.architectures.silero_vad import SileroVad
from model_zoo.cards.weight_source import BundledSource
from model_zoo.catalog import Catalog
from model_zoo.errors import DigestMismatch, SourceUnavailable, StoreUnusable, ZooModelError
from model_zoo.materialised import Materialised
from model_zoo.store import Store
from service.errors import NotReady
from service.registry.loading.loader import Loader, golden_problem
from tests.support.model_zoo.real_models import names_with_tests
from tests.support.registry.loader_fakes import FakeStore, loader

VAD = Catalog.from_package().get("silero_vad")


@pytest.fixture
def random_weights(tmp_path: Path) -> Materialised:
    """The speech network with random weights."""
    torch.manual_seed(0)
    save_file(SileroVad().state_dict(), tmp_path / "model.safetensors")
    return Materialised(tmp_path, tmp_path / "model.safetensors", {}, "0" * 64)


def test_offline_load_without_weights_says_how_to_get_them() -> None:
    store = FakeStore()
    with pytest.raises(NotReady, match=r"offline; run `zoo pull silero_vad`"):
        loader(store, offline=True).load(VAD)
    assert store.fetched == 0


@pytest.mark.parametrize(
    "error", [DigestMismatch("a.whl", "1" * 64, "2" * 64), StoreUnusable("No space left on device")]
)
def test_load_with_an_error_of_the_zoo_shows_its_text(error: ZooModelError) -> None:
    with pytest.raises(NotReady) as caught:
        loader(FakeStore(error=error)).load(VAD)
    assert caught.value.message == str(error)


def test_unreachable_weight_source_is_not_named_to_clients() -> None:
    with pytest.raises(NotReady, match=r"^its weights could not be fetched; the server's log says why$"):
        loader(FakeStore(error=SourceUnavailable("a.whl", "mirror.internal does not answer"))).load(VAD)


def test_bundled_weights_need_no_network() -> None:
    source = BundledSource.model_validate({"kind": "bundled", "files": VAD.source.files})
    store = FakeStore(error=StoreUnusable("No space left on device"))
    with pytest.raises(NotReady, match="no space left"):
        loader(store, offline=True).load(VAD.model_copy(update={"source": source}))
    assert store.fetched == 1


def test_load_with_a_foreign_error_hides_its_text() -> None:
    with pytest.raises(NotReady, match=r"^loading failed; the server's log has the details$"):
        loader(FakeStore(error=ValueError("secret in /a/path"))).load(VAD)


def test_network_that_fails_its_golden_check_is_not_served(random_weights: Materialised) -> None:
    with pytest.raises(NotReady, match=r"the golden check failed: case 1 of 3: expected speech"):
        loader(FakeStore(random_weights)).load(VAD)


def test_weights_that_do_not_fit_the_network_are_reported_without_a_path(random_weights: Materialised) -> None:
    save_file({"head.weight": torch.zeros(1)}, random_weights.weights)
    with pytest.raises(NotReady, match="could not be converted") as caught:
        loader(FakeStore(random_weights)).load(VAD)
    assert str(random_weights.folder) not in caught.value.message


@pytest.mark.weights
def test_damaged_weight_file_is_deleted_and_fetched_again(tmp_path: Path, zoo_home: Path, served: Any) -> None:
    served("silero_vad")  # fetches, or skips
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    store = FakeStore(Materialised(tmp_path, tmp_path / "model.safetensors", {}, "0" * 64))
    store.sound, store.anew = False, Store(zoo_home).find(VAD)
    assert loader(store).load(VAD).runtime.memory_bytes > 100_000
    assert store.fetched == 1


def test_damaged_weight_file_on_an_offline_server_is_reported_as_missing(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    store = FakeStore(Materialised(tmp_path, tmp_path / "model.safetensors", {}, "0" * 64))
    store.sound = False
    with pytest.raises(NotReady, match=r"offline; run `zoo pull silero_vad`"):
        loader(store, offline=True).load(VAD)


@pytest.mark.weights
@pytest.mark.parametrize("name", names_with_tests())
def test_golden_checks_of_the_real_network_pass(name: str, served: Any) -> None:
    real = served(name)
    assert len(real.card.golden) >= 1
    assert golden_problem(real.task, real.runtime) is None


@pytest.mark.weights
@pytest.mark.parametrize("name", names_with_tests())
def test_golden_check_of_wrong_weights_fails(name: str, zoo_home: Path, served: Any) -> None:
    real = served(name)

    class Off:
        """Names, shapes and dtypes of its outputs are right, values are not: all are 0."""

        def run(self, tensors: Any) -> Any:
            return {k: v if v.dtype.kind == "i" else 0 * v for k, v in real.runtime.run(tensors).items()}

    assert golden_problem(real.task, cast(Any, Off())) is not None


@pytest.mark.weights
def test_loaded_network_is_warmed_up_and_reports_its_load_time(zoo_home: Path, served: Any) -> None:
    served("silero_vad")  # fetches, or skips
    loaded = loader(Store(zoo_home)).load(VAD)
    assert loaded.load_s > 0
    assert loaded.runtime.memory_bytes > 100_000
    assert loaded.task.card is VAD


# ── batch invariance, precision ───────────────────────────────────────────────────────────────────────────────────────


class Wrapped(torch.nn.Module):
    """A real network whose answers move a little with the number of rows in the batch."""

    def __init__(self, network: torch.nn.Module, off: float) -> None:
        super().__init__()
        self.network, self.off = network, off

    def forward(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = len(next(iter(inputs.values())))
        return {name: t + self.off * (rows - 1) for name, t in self.network(**inputs).items()}


@pytest.mark.weights
def test_network_whose_answers_depend_on_the_batch_is_not_served(
    zoo_home: Path, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = served("silero_vad")
    monkeypatch.setattr("service.registry.loading.loader.load_network", lambda *_, **__: Wrapped(real.network, 0.0001))
    with pytest.raises(NotReady) as caught:
        loader(Store(zoo_home)).load(VAD)
    assert caught.value.message == (
        "the batch-invariance check failed: an answer in a batch of 8 differs by 0.0007 from the one alone; allowed is 1e-05"
    )


@pytest.mark.weights
def test_loaded_network_keeps_its_fp32_answers_as_reference(zoo_home: Path, served: Any) -> None:
    served("silero_vad")  # fetches, or skips
    loaded = loader(Store(zoo_home)).load(VAD)
    assert loaded.reference is not None
    assert len(loaded.reference) >= 6
    assert loaded.runtime.precision == "fp32"


@pytest.mark.weights
def test_requested_precision_is_the_one_that_runs(zoo_home: Path, served: Any) -> None:
    real = served("all_minilm_l6_v2")
    it = Loader(Store(zoo_home), "cpu", True, lambda model: lambda done, total, what: None, lambda model: "bf16")
    loaded = it.load(real.card)
    assert loaded.runtime.precision == "bf16"
    assert loaded.runtime.memory_bytes < 0.6 * real.runtime.memory_bytes


@pytest.mark.weights
def test_precision_with_wrong_answers_is_refused_with_the_figure(zoo_home: Path, served: Any) -> None:
    served("silero_vad")  # fetches, or skips
    it = Loader(Store(zoo_home), "cpu", True, lambda model: lambda done, total, what: None, lambda model: "bf16")
    with pytest.raises(NotReady, match=r"^it cannot run in bf16: the cosine to the reference is 0\.98\d+; expected"):
        it.load(VAD)
