"""An address that fails too often is looked at less often."""

from __future__ import annotations

import pytest

from service.access.attempts import BURST, MOST_PEERS, REFILL_S, FailedAttempts, address_of


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_address_is_blocked_after_a_burst_and_free_after_one_refill() -> None:
    clock = Clock()
    attempts = FailedAttempts(clock)
    for _ in range(BURST):
        assert attempts.blocked_s("10.0.0.1") == 0.0
        attempts.failed("10.0.0.1")
    assert attempts.blocked_s("10.0.0.1") == pytest.approx(REFILL_S)
    clock.now += REFILL_S
    assert attempts.blocked_s("10.0.0.1") == pytest.approx(0.0)
    attempts.failed("10.0.0.1")
    assert attempts.blocked_s("10.0.0.1") > 0.0


def test_other_addresses_are_not_blocked() -> None:
    attempts = FailedAttempts(Clock())
    for _ in range(2 * BURST):
        attempts.failed("10.0.0.1")
    assert attempts.blocked_s("10.0.0.2") == 0.0


def test_long_attack_does_not_block_for_longer_than_one_refill() -> None:
    attempts = FailedAttempts(Clock())
    for _ in range(1000):
        attempts.failed("10.0.0.1")
    assert attempts.blocked_s("10.0.0.1") == pytest.approx(REFILL_S)


def test_failures_wear_off_and_are_forgotten() -> None:
    clock = Clock()
    attempts = FailedAttempts(clock)
    assert attempts.empty
    attempts.failed("10.0.0.1")
    assert not attempts.empty
    clock.now += BURST * REFILL_S
    assert attempts.blocked_s("10.0.0.1") == 0.0
    assert attempts.empty


def test_memory_is_bounded_under_failures_of_many_addresses() -> None:
    attempts = FailedAttempts(Clock())
    for i in range(MOST_PEERS + 10):
        attempts.failed(str(i))
    assert len(attempts._failures) == MOST_PEERS
    assert "0" not in attempts._failures


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.1:5123", "10.0.0.1"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:80", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2::9]:80", "2001:db8:1:2::/64"),
        ("ipv6:%5Bfe80::1%25eth0%5D:80", "fe80::/64"),
        ("ipv6:%5B::ffff:10.0.0.1%5D:80", "10.0.0.1"),
        ("unix:", "unix"),
        ("unix:/run/zoo.sock", "unix"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_address_of_a_peer_leaves_out_the_port(peer: str, address: str) -> None:
    assert address_of(peer) == address
