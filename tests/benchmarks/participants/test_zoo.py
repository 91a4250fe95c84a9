"""A server is measured once it has tried every candidate tier."""

from pathlib import Path

from benchmarks.participants.zoo import new_home, settled


def test_server_is_settled_once_its_tier_is_final() -> None:
    assert not settled({})
    assert not settled({"tier": "compiled", "tier_state": "pending"})
    assert settled({"tier": "eager", "tier_state": "final"})


def test_new_home_has_equal_weights_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "old"
    (source / "weights" / "abc").mkdir(parents=True)
    (source / "weights" / "abc" / "model").write_bytes(b"weights")
    (source / "compiled").mkdir()

    with new_home(source) as home:
        assert (Path(home) / "weights" / "abc" / "model").read_bytes() == b"weights"
        assert not (Path(home) / "compiled").exists()

    assert (source / "weights" / "abc" / "model").read_bytes() == b"weights"
