"""
An aiohttp application that sends, streams a bulk send's outcomes, and receives reports.

Start it beside a simulator with ``python -m tests.examples.aiohttp_app``.
"""

from collections.abc import AsyncGenerator
from typing import Any, cast

from aiohttp import web

from every8d_async import InvalidRequest
from every8d_async.integrations.aiohttp import SESSION, cleanup_ctx, report_routes
from tests.examples.report_store import ReportStore
from tests.examples.services import OneTimePasswords, confirmed, refused, stream_bulk
from tests.examples.simulated import Settings, simulated

_REPORTS = web.AppKey("reports", ReportStore)
_PASSWORDS = web.AppKey("passwords", OneTimePasswords)
_routes = web.RouteTableDef()


@_routes.post("/otp")
async def _otp(request: web.Request) -> web.Response:
    asked = await _asked(request)
    status, answer = await request.app[_PASSWORDS].send(request.app[SESSION], asked.get("to"))
    return web.json_response(answer, status=status)


@_routes.post("/bulk")
async def _bulk(request: web.Request) -> web.StreamResponse:
    asked = await _asked(request)
    try:
        run = request.app[SESSION].sms.broadcast(asked.get("text"), asked.get("to"))
    except InvalidRequest as error:
        status, told = refused(error)
        return web.json_response(told, status=status)
    answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})

    async def write(line: bytes) -> bool:
        try:
            await answer.write(line)
        except ConnectionError:
            return False
        return True

    await answer.prepare(request)
    await stream_bulk(run, write)
    return answer


async def _asked(request: web.Request) -> Any:
    """Read a JSON object; whatever stands in it is for the session to check."""
    try:
        asked = await request.json()
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise web.HTTPUnprocessableEntity(text="a JSON object is asked for")
    return cast("Any", asked)


@_routes.get("/batches/{batch_id}")
async def _batch(request: web.Request) -> web.Response:
    app = request.app
    return web.json_response(
        await confirmed(app[SESSION], app[_REPORTS], request.match_info["batch_id"])
    )


def make_app(settings: Settings, store: ReportStore | None = None) -> web.Application:
    """Make the application."""
    reports = store or ReportStore(settings.database)

    async def closing(_app: web.Application) -> AsyncGenerator[None]:
        yield
        reports.close()

    app = web.Application()
    app[_REPORTS], app[_PASSWORDS] = reports, OneTimePasswords()
    app.cleanup_ctx.extend([closing, cleanup_ctx(settings.session)])
    app.add_routes(_routes)
    app.add_routes(
        report_routes(reports.add, tokens=[settings.report_token], quarantine=reports.set_aside)
    )
    return app


def main() -> None:
    """Serve it."""
    with simulated("aiohttp_app") as (settings, port):
        web.run_app(make_app(settings), host="127.0.0.1", port=port)


if __name__ == "__main__":
    main()
