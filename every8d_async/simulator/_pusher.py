"""
Push reports from threads of their own, as the service does: again on anything but HTTP 200.

Nothing is pushed unless the simulator is served, and knows where to. Lock order: the pusher's own,
then the core's.
"""

from __future__ import annotations

import contextlib
import heapq
import http.client
import socket
import threading
import time
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import evolve

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from every8d_async.simulator._push import PushTarget
    from every8d_async.simulator._values import Push

_OK = 200
_NO_ANSWER = 0
_TICK = 0.1  # seconds between two looks at the clock for what has become final
_REST = 0.05  # seconds in which a connection tries nothing after there was no answer
_STALE = 1.0  # seconds; the receiver may be about to close a connection that was idle for longer
_PATIENCE = 10.0  # seconds for a receiver to answer, and for a thread to end


class Pusher:
    """Keep what is to be pushed, push it, and remember what became of it."""

    def __init__(
        self, take_due: Callable[[PushTarget], list[Push]], rng: Callable[[], float]
    ) -> None:
        self._take_due = take_due
        self._rng = rng
        self._changed = threading.Condition()
        self._target: PushTarget | None = None
        self._pushes: list[Push] = []
        self._queue: list[tuple[float, int, int]] = []  # when, a number for ties, which push
        self._ties = count()
        self._under_way = 0
        self._look_at = 0.0
        self._is_serving = False
        self._workers: list[_Worker] = []

    @property
    def pushes(self) -> tuple[Push, ...]:
        """Give all pushes so far."""
        with self._changed:
            return tuple(self._pushes)

    def aim(self, target: PushTarget) -> None:
        """Push there from now on."""
        with self._changed:
            self._target = target
            self._start()
        self.wake()

    def wake(self) -> None:
        """Look at once for what is to be pushed."""
        with self._changed:
            self._look_at = 0.0
            self._changed.notify_all()

    def reset(self) -> None:
        """Forget all pushes; what is under way ends unnoticed."""
        with self._changed:
            self._pushes, self._queue = [], []
            self._changed.notify_all()

    def settle(self, seconds: float) -> bool:
        """Wait until nothing is left to push; tell whether that came about in time."""
        self.wake()
        with self._changed:
            return self._changed.wait_for(self._is_idle, seconds)

    @contextlib.contextmanager
    def serving(self) -> Generator[None]:
        """Push while the block runs."""
        with self._changed:
            self._is_serving = True
            self._start()
        try:
            yield
        finally:
            self._stop()

    def _start(self) -> None:
        if self._is_serving and self._target is not None and not self._workers:
            self._workers = [_Worker(self) for _ in range(self._target.connections)]
            for worker in self._workers:
                worker.start()

    def _stop(self) -> None:
        with self._changed:
            self._is_serving = False
            workers, self._workers = self._workers, []
            self._changed.notify_all()
        for worker in workers:
            worker.cut()
        for worker in workers:
            worker.join(_PATIENCE)

    # --- with the lock held ---

    def _is_idle(self) -> bool:
        self._look()
        return not self._queue and not self._under_way

    def _look(self) -> None:
        """Queue what has become due; not at each call, since all that is pending is looked at."""
        now = time.monotonic()
        if self._target is None or now < self._look_at:
            return
        self._look_at = now + _TICK
        for push in self._take_due(self._target):
            self._pushes.append(push)
            self._enqueue(len(self._pushes) - 1, now)

    def _enqueue(self, index: int, at: float) -> None:
        heapq.heappush(self._queue, (at, next(self._ties), index))
        self._changed.notify_all()

    # --- for workers ---

    def next(self) -> tuple[PushTarget, int, Push] | None:
        """Wait for something to push; None once pushing has ended."""
        with self._changed:
            while self._is_serving:
                self._look()
                now = time.monotonic()
                if self._target is not None and self._queue and self._queue[0][0] <= now:
                    _, _, index = heapq.heappop(self._queue)
                    self._under_way += 1
                    return self._target, index, self._pushes[index]
                self._changed.wait(min([_TICK, *(at - now for at, _, _ in self._queue[:1])]))
        return None

    def rest(self) -> None:
        """Leave a receiver alone for a moment, which is perhaps just being started."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_serving, _REST)

    def note(self, target: PushTarget, index: int, push: Push, status: int) -> None:
        """Note how a try ended, and plan another where it failed."""
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()
            if index >= len(self._pushes) or self._pushes[index] is not push:
                return  # it was forgotten meanwhile
            tried = evolve(push, tries=(*push.tries, status))
            again = self._again(target, push, status)
            self._pushes[index] = evolve(tried, is_over=not again)
            if again:
                pause = 0.0 if status == _OK else target.pause.total_seconds()
                self._enqueue(index, time.monotonic() + pause)

    def _again(self, target: PushTarget, before: Push, status: int) -> bool:
        if status == _OK:
            return not before.is_accepted and self._rng() < target.repeat
        return len(before.tries) + 1 < target.tries


class _Worker(threading.Thread):
    """One connection to the receiver."""

    def __init__(self, pusher: Pusher) -> None:
        super().__init__(name="every8d-simulator-push", daemon=True)
        self._pusher = pusher
        self._connection: http.client.HTTPConnection | None = None
        self._used_at = 0.0

    def run(self) -> None:
        while (job := self._pusher.next()) is not None:
            target, index, push = job
            status = self._try(target, push)
            self._pusher.note(target, index, push, status)
            if status == _NO_ANSWER:
                self._pusher.rest()
        self._close()

    def cut(self) -> None:
        """End a try under way, from another thread."""
        with contextlib.suppress(AttributeError, OSError):  # there may be no connection
            self._connection.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]

    def _try(self, target: PushTarget, push: Push) -> int:
        try:
            connection = self._connected(target)
            self._send(connection, target, push.query)
            with connection.getresponse() as response:
                response.read()
                return response.status
        except (OSError, http.client.HTTPException):
            self._close()
            return _NO_ANSWER

    def _connected(self, target: PushTarget) -> http.client.HTTPConnection:
        parts = urlsplit(target.url)
        place = (parts.hostname, parts.port or 80)
        now, idle = time.monotonic(), time.monotonic() - self._used_at
        self._used_at = now
        held = self._connection
        if held is None or idle > _STALE or (held.host, held.port) != place:
            self._close()
            host, port = place
            self._connection = held = http.client.HTTPConnection(
                host or "", port, timeout=_PATIENCE
            )
        return held

    def _send(self, connection: http.client.HTTPConnection, target: PushTarget, query: str) -> None:
        parts = urlsplit(target.url)
        path = parts.path or "/"
        if target.method == "POST":
            given = f"?{parts.query}" if parts.query else ""
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", path + given, query.encode("ascii"), form)
        else:
            joined = f"{parts.query}&{query}" if parts.query else query
            connection.request("GET", f"{path}?{joined}")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
