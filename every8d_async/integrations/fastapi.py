"""
FastAPI: one session for the application, and routes for push reports (extra ``fastapi``).

::

    app = FastAPI(lifespan=lifespan())                      # EVERY8D_UID, EVERY8D_PASSWORD, …
    app.include_router(report_router(store, tokens=[os.environ["REPORT_TOKEN"]]))

    @app.post("/orders")
    async def order(session: SessionDep) -> None:
        await session.sms.send("訂單已確認", to="0912345678")
"""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, FastAPI
from fastapi.requests import HTTPConnection

from every8d_async._session import Every8DSession
from every8d_async.webhooks import MAX_BYTES, Handler, Quarantine, ReceiverStats, asgi

__all__ = ["SessionDep", "lifespan", "report_router", "session_of"]

_ENDS = ("", "/", "//")  # FastAPI redirects (307) where a slash too many is not foreseen


def lifespan(
    make: Callable[[], Every8DSession] = Every8DSession.from_env,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """
    Give a lifespan in which the application has one session, closed when it ends.

    With a lifespan of your own, enter it there: ``async with lifespan()(app): yield``.

    Args:
        make: Makes the session; of the environment's variables if none is given.
    """

    @asynccontextmanager
    async def alive(app: FastAPI) -> AsyncGenerator[None]:
        async with make() as session:
            app.state.every8d_session = session
            yield

    return alive


def session_of(connection: HTTPConnection) -> Every8DSession:
    """
    Give the application's session.

    Raises:
        RuntimeError: The application was made without `lifespan`.
    """
    session = getattr(connection.app.state, "every8d_session", None)
    if session is None:
        raise RuntimeError("there is no session: FastAPI(lifespan=lifespan()) makes one")
    return cast("Every8DSession", session)


SessionDep = Annotated[Every8DSession, Depends(session_of)]
"""An endpoint's parameter of this type gets the application's session."""


def report_router(
    handler: Handler,
    *,
    tokens: Iterable[str],
    path: str = "/reports",
    encoding: str = "utf-8",
    max_bytes: int = MAX_BYTES,
    quarantine: Quarantine | None = None,
    stats: ReceiverStats | None = None,
) -> APIRouter:
    """
    Make a router that receives push reports at ``{path}/{token}``, with and without slashes.

    Args:
        handler: As of `every8d_async.webhooks.asgi`, like all but `path`.
        tokens: The path's secret; two while it is being changed.
        path: What stands before the token.
        encoding: ``utf-8`` or ``big5``.
        max_bytes: The longest query string or form body that is read, in bytes.
        quarantine: Stores what can't be read.
        stats: Counts how requests ended.

    Raises:
        ValueError: Tokens or encoding won't do.
    """
    # An ASGI application as endpoint, which FastAPI does not validate for (422).
    app: Any = asgi(
        handler,
        tokens=tokens,
        encoding=encoding,
        max_bytes=max_bytes,
        quarantine=quarantine,
        stats=stats,
    )
    router = APIRouter()
    for end in _ENDS:
        target = f"{path.rstrip('/')}/{{token}}{end}"
        router.add_route(target, app, name="every8d_reports", include_in_schema=False)
    return router
