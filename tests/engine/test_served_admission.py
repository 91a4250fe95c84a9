"""Who is let in is also in time for the way back to its caller."""

import asyncio
import time

import pytest

from service.errors import TooLate
from tests.support.registry_fakes import PATIENCE_S, world
from tests.support.scheduler_fakes import until

pytestmark = pytest.mark.asyncio


async def test_request_that_the_reply_delay_makes_late_is_not_admitted() -> None:
    """The queue reserves the reply delay before a row's deadline; admission reserves it as well."""
    async with world() as w:
        served = w.model()
        for rows in (1, 2, 3, 4) * 4:
            served.learn(rows, 1, rows * 100.0)
        w.runtime().gate.clear()
        running = asyncio.create_task(w.inference.infer(w.request("1")))
        await until(lambda: w.runtime().batches)
        deadline = time.monotonic() + 240.0  # a row is done after 200 s and a little
        served.admit(1, deadline)
        served.release(1)
        served.observe_reply_delay(1e6)  # answers are slow to reach their callers: a fifth of the time is kept for that
        with pytest.raises(TooLate):
            served.admit(1, deadline)
        w.runtime().gate.set()
        await asyncio.wait_for(running, PATIENCE_S)
