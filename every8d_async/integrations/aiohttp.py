"""
aiohttp's server: one session for the application, routes for push reports (extra ``aiohttp``).

::

    app = web.Application()
    app.cleanup_ctx.append(cleanup_ctx())                   # EVERY8D_UID, EVERY8D_PASSWORD, …
    app.add_routes(report_routes(store, tokens=[os.environ["REPORT_TOKEN"]]))

    async def order(request: web.Request) -> web.Response:
        await request.app[SESSION].sms.send("訂單已確認", to="0912345678")
        return web.Response()
"""

from collections.abc import AsyncGenerator, Callable, Iterable
from http import HTTPStatus

from aiohttp import web

from every8d_async._session import Every8DSession
from every8d_async.webhooks import MAX_BYTES, Handler, Quarantine, Receiver, ReceiverStats

__all__ = ["SESSION", "cleanup_ctx", "report_routes"]

_ENDS = ("", "/", "//")  # a slash too many in the gateway's settings is no reason to lose a report

SESSION = web.AppKey("every8d_session", Every8DSession)
"""Where an application keeps its session: ``app[SESSION]``."""


def cleanup_ctx(
    make: Callable[[], Every8DSession] = Every8DSession.from_env,
) -> Callable[[web.Application], AsyncGenerator[None]]:
    """
    Give a cleanup context in which the application has one session, closed when it ends.

    Args:
        make: Makes the session; of the environment's variables if none is given.
    """

    async def alive(app: web.Application) -> AsyncGenerator[None]:
        async with make() as session:
            app[SESSION] = session
            yield

    return alive


def report_routes(
    handler: Handler,
    *,
    tokens: Iterable[str],
    path: str = "/reports",
    encoding: str = "utf-8",
    max_bytes: int = MAX_BYTES,
    quarantine: Quarantine | None = None,
    stats: ReceiverStats | None = None,
) -> list[web.RouteDef]:
    """
    Make routes that receive push reports at ``{path}/{token}``, with and without slashes.

    aiohttp's server itself refuses request lines over 8190 bytes, which a very long text in a GET
    may exceed: choose POST in the gateway's settings, or raise ``max_line_size``.

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
    receiver = Receiver(
        handler,
        tokens=tokens,
        encoding=encoding,
        max_bytes=max_bytes,
        quarantine=quarantine,
        stats=stats,
    )

    async def answer(request: web.Request) -> web.Response:
        return await _answer(receiver, request)

    return [web.route("*", f"{path.rstrip('/')}/{{token}}{end}", answer) for end in _ENDS]


async def _answer(receiver: Receiver, request: web.Request) -> web.Response:
    async def read_body(limit: int) -> bytes | None:
        parts = bytearray()
        async for part in request.content.iter_any():
            parts += part
            if len(parts) > limit:
                return None
        return bytes(parts)

    # As it came: what aiohttp makes of a query holds for UTF-8 alone.
    query = request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")
    token = request.match_info["token"]
    try:
        status = HTTPStatus(await receiver.answer(request.method, token, query, read_body))
    except (web.RequestPayloadError, ConnectionError):
        # The body broke off, or can't be unpacked. (What a handler raises does not come here.)
        status = HTTPStatus.BAD_REQUEST
    if status == HTTPStatus.NOT_FOUND:
        raise web.HTTPNotFound
    allow = {"Allow": "GET, HEAD, POST"} if status == HTTPStatus.METHOD_NOT_ALLOWED else None
    return web.Response(status=status, text=status.phrase, headers=allow)
