"""Code that torch compiles for a GPU is stored in private folders. The tests need no GPU."""

import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from torch._inductor.runtime.cache_dir_utils import cache_dir, triton_cache_dir

from model_zoo.store import Store
from service.runtime.compilers import cuda_graphs
from service.runtime.compilers.compiled_cache import CannotCompile, CompiledCache
from service.runtime.compilers.compiler import compiler_for
from service.runtime.device import DevicePlan
from tests.support.model_zoo.tiny_model import tiny_card

CARD = tiny_card()
STORE = cast(Store, SimpleNamespace(find=lambda card: SimpleNamespace(weights=Path("/weights"), digest="a" * 64)))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler without folders of the operator, and with fake networks."""
    for variable in cuda_graphs.FOLDERS:
        monkeypatch.setenv(variable, "")  # so that monkeypatch restores the variable afterwards
        monkeypatch.delenv(variable)
    monkeypatch.setattr(cuda_graphs, "load_network", lambda card, found: None)
    monkeypatch.setattr(
        cuda_graphs, "CudaGraphRuntime", lambda *_: SimpleNamespace(folders=(cache_dir(), triton_cache_dir(0)))
    )
    tmp_path.chmod(0o755)
    return tmp_path


def compiler(home: Path) -> Any:
    return compiler_for(home, STORE, DevicePlan("cuda:0", 1, 1))


def test_graph_compiler_stores_code_in_private_folders(home: Path) -> None:
    folders = [Path(folder) for folder in compiler(home).compile(CARD, "fp32").load().folders]
    assert folders == [home / "compiled" / "inductor", home / "compiled" / "triton"]
    for folder in (home / "compiled", *folders):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_graph_compiler_in_a_folder_that_others_may_write_is_rejected(home: Path) -> None:
    it = compiler(home)
    it.compile(CARD, "fp32")
    (home / "compiled").chmod(0o770)
    with pytest.raises(CannotCompile, match="other users may write in the folder for compiled networks"):
        it.compile(CARD, "fp32")


def test_graph_compiler_keeps_folders_of_the_operator(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = tuple(str(home / name) for name in ("mine", "mine_too"))
    for variable, folder in zip(cuda_graphs.FOLDERS, chosen, strict=True):
        monkeypatch.setenv(variable, folder)
    assert compiler(home).compile(CARD, "fp32").load().folders == chosen
    assert not (home / "compiled").exists()


def test_sweep_keeps_the_folders_of_torch(home: Path) -> None:
    compiler(home).compile(CARD, "fp32")
    CompiledCache(home).staging()
    assert (home / "compiled" / "inductor").exists()
