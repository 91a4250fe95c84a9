"""What a part costs is the processor time of the server with it, divided by that without it."""

import pytest

from benchmarks.access import Callers, Round, Variant
from service.wire.frontend.calls import UnaryCall
from tests.support.wire.frontend_methods import UNARY, Methods, served


def test_ratio_is_on_by_off() -> None:
    assert Round(off_us=100.0, on_us=115.0).ratio == pytest.approx(1.15)


@pytest.mark.asyncio
async def test_load_counts_its_calls_and_sends_the_metadata_of_the_variant() -> None:
    seen = list[tuple[bytes, object]]()

    def note(call: UnaryCall) -> None:
        seen.append((call.message, dict(call.core.metadata).get("authorization")))
        call.reply(b"")

    variant = Variant(metadata=(("authorization", "Bearer x"),))
    async with served(Methods(note)) as s:
        callers = Callers(f"127.0.0.1:{s.port.number}", variant, b"x", 4, UNARY)
        count = sum([await callers.run(0.1) for _ in range(2)])
        await callers.close()
    assert count == len(seen) > 0
    assert set(seen) == {(b"x", "Bearer x")}
