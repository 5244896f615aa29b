"""Where errors leave the package: their tracebacks end here, and show nobody's text or password."""

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, TypeVar, cast

from every8d_async._errors import Every8DError

P = ParamSpec("P")
R = TypeVar("R")


def discreet(function: Callable[P, R]) -> Callable[P, R]:
    """
    Let no frame of a public function, or below it, be in the tracebacks of our errors.

    Error trackers write down the locals of every frame, and the arguments of a send are texts and
    numbers. The error itself says all there is to say; a bug keeps its whole traceback. So it is
    with a cancellation: the `TimeoutError` of a caller's own time limit leads to it.
    """
    if iscoroutinefunction(function):
        return cast("Callable[P, R]", _discreetly_awaited(function))

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Every8DError as error:
            failure = error.with_traceback(None)
        del args, kwargs
        try:
            raise failure
        finally:
            del failure  # its traceback holds this frame

    return call


def _discreetly_awaited(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, Every8DError):
                raise
            failure = error.with_traceback(None)
        del args, kwargs
        try:
            raise failure
        finally:
            del failure

    return call
