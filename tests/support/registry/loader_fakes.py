"""A store that finds what a test put there, and a loader over it."""

from typing import cast

from model_zoo.cards.card import Card
from model_zoo.errors import DigestMismatch
from model_zoo.store import Materialised, Store
from service.registry.loading.loader import Loader


class FakeStore:
    """Finds nothing, or what a test put there; fetching fails as it says."""

    def __init__(self, found: Materialised | None = None, error: Exception | None = None) -> None:
        self.found = found
        self.error = error
        self.fetched = 0
        self.anew: Materialised | None = None  # what is fetched once verify() has thrown a damaged file away
        self.sound = True

    def verify(self, card: Card) -> None:
        if not self.sound:
            self.found = None
            raise DigestMismatch("model.safetensors", "1" * 64, "2" * 64)

    def find(self, card: Card) -> Materialised | None:
        return self.found

    def materialise(self, card: Card, progress: object) -> Materialised:
        self.fetched += 1
        if self.anew is not None:
            self.found = self.anew
            return self.anew
        assert self.error is not None
        raise self.error


def loader(store: object, offline: bool = False, precision: str = "auto") -> Loader:
    return Loader(
        cast(Store, store), "cpu", offline, lambda model: lambda done, total, what: None, lambda model: precision
    )
