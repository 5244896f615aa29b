"""
A FastAPI application that sends, streams a bulk send's outcomes, and receives reports.

Start it beside a simulator with ``python -m tests.examples.fastapi_app``.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import Body, FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from every8d_async import InvalidRequest
from every8d_async.integrations.fastapi import SessionDep, lifespan, report_router
from tests.examples.report_store import ReportStore
from tests.examples.services import OneTimePasswords, Write, confirmed, refused, stream_bulk
from tests.examples.simulated import Settings, simulated


class Lines(StreamingResponse):
    """
    A response that is written line by line in the request's own task.

    Starlette's own would cancel it when the client hangs up, and cut what is on its way out.
    """

    def __init__(self, produce: Callable[[Write], Awaitable[None]]) -> None:
        super().__init__(iter(()), media_type="application/x-ndjson")
        self._produce = produce

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what is written."""
        request = Request(scope, receive)
        body = "http.response.body"

        async def write(line: bytes) -> bool:
            await send({"type": body, "body": line, "more_body": True})
            return not await request.is_disconnected()

        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        await self._produce(write)
        await send({"type": body, "body": b"", "more_body": False})


def make_app(settings: Settings, store: ReportStore | None = None) -> FastAPI:
    """Make the application."""
    reports = store or ReportStore(settings.database)
    passwords = OneTimePasswords()

    @asynccontextmanager
    async def alive(app: FastAPI) -> AsyncGenerator[None]:
        async with lifespan(settings.session)(app):
            yield
        reports.close()

    app = FastAPI(lifespan=alive)
    app.include_router(
        report_router(reports.add, tokens=[settings.report_token], quarantine=reports.set_aside)
    )

    @app.post("/otp")
    async def otp(session: SessionDep, to: Annotated[str, Body(embed=True)]) -> JSONResponse:
        status, answer = await passwords.send(session, to)
        return JSONResponse(answer, status)

    @app.post("/bulk")
    async def bulk(
        session: SessionDep, text: Annotated[str, Body()], to: Annotated[list[str], Body()]
    ) -> Response:
        try:
            run = session.sms.broadcast(text, to)
        except InvalidRequest as error:
            status, answer = refused(error)
            return JSONResponse(answer, status)
        return Lines(lambda write: stream_bulk(run, write))

    @app.get("/batches/{batch_id}")
    async def batch(session: SessionDep, batch_id: str) -> list[dict[str, Any]]:
        return await confirmed(session, reports, batch_id)

    _ = otp, bulk, batch
    return app


def main() -> None:
    """Serve it."""
    with simulated("fastapi_app") as (settings, port):
        uvicorn.run(make_app(settings), host="127.0.0.1", port=port)


if __name__ == "__main__":
    main()
