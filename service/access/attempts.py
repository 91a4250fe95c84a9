"""Failed attempts by peer: each address may fail a few times at once, and then as often as one failure wears off."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

BURST = 10
"""Failures of one address that may come at once."""
REFILL_S = 1.0
"""A failure wears off after this time."""
MOST_PEERS = 4096
"""Addresses that are remembered. The one whose last failure is the oldest is forgotten first."""


class FailedAttempts:
    """Thread-safe. A leaky bucket for each address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address → failures, and when counted

    @property
    def empty(self) -> bool:
        """No address has failed lately, so none is blocked."""
        if not self._failures:  # takes no lock
            return True
        with self._lock:
            while self._failures:
                oldest = next(iter(self._failures))
                if self._now(oldest) > 0.0:
                    return False
        return True

    def blocked_s(self, address: str) -> float:
        """Seconds until the next attempt of an address is looked at; 0 for now."""
        with self._lock:
            failures = self._now(address)
        return max(0.0, (failures - BURST + 1.0) * REFILL_S)

    def failed(self, address: str) -> None:
        """An attempt failed."""
        with self._lock:
            self._failures[address] = min(self._now(address) + 1.0, float(BURST)), self._clock()
            self._failures.move_to_end(address)
            if len(self._failures) > MOST_PEERS:
                self._failures.popitem(last=False)

    def _now(self, address: str) -> float:
        found = self._failures.get(address)
        if found is None:
            return 0.0
        failures = found[0] - (self._clock() - found[1]) / REFILL_S
        if failures <= 0.0:
            del self._failures[address]
            return 0.0
        return failures


def address_of(peer: str) -> str:
    """The address in gRPC's name of a peer, `ipv4:1.2.3.4:567` or `ipv6:%5B::1%5D:567`; another name as it is. IPv6 addresses
    count by their /64, which one site has."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return kind
    host = rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
    if kind == "ipv4":
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))
