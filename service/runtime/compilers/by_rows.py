"""Two compiled networks of one model, where one is faster for few rows and the other for many."""

from __future__ import annotations

from service.runtime.network import Runtime, SharedPart
from service.types import Array, Tensors


class RuntimeByRows:
    """A `Runtime` that runs each batch in one of two others, by its number of rows."""

    tier = "compiled"
    shared: SharedPart | None = None

    def __init__(self, few: Runtime, many: Runtime, from_rows: int, other: Runtime) -> None:
        """Takes over both. Batches of at least `from_rows` rows run in `many`. `other` is the one that was loaded for this."""
        self.other = other
        self._few, self._many = few, many
        self.from_rows = from_rows
        self.compiler = f"{few.compiler}+{many.compiler}"
        self.device, self.precision = few.device, few.precision

    @property
    def memory_bytes(self) -> int:
        """Bytes of both; 0 after `free`."""
        return self._few.memory_bytes + self._many.memory_bytes

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Runs one batch; see `Runtime`."""
        rows = len(next(iter(tensors.values())))
        return (self._many if rows >= self.from_rows else self._few).run(tensors)

    def free(self) -> None:
        """Releases both. Batches that run already keep their network until they end."""
        self._few.free()
        self._many.free()
