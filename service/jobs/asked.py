"""What users' calls ask of the database: where it does not answer, they are told to come again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from service.database import DatabaseUnavailable
from service.errors import NotReady
from service.observability.log import logger

log = logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


async def asked(question: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the database answers. Raises NotReady where it does not."""
    try:
        return await question(*args, **kwargs)
    except DatabaseUnavailable as error:
        log.warning("the database does not answer", reason=str(error))
        raise NotReady("the server's database does not answer; try again", retry_after_s=1.0) from None
