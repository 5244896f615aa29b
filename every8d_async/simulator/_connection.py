"""ConnectionHandler: get, check and close a token (§1). Its replies are JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from every8d_async.simulator import _codes
from every8d_async.simulator._call import Call, Refused, Reply
from every8d_async.simulator._replies import success_json

if TYPE_CHECKING:
    from every8d_async.simulator._state import State

_HANDLER_TYPE = "3"


def handle_connection(state: State, call: Call) -> Reply:
    """Do what VerifyType says: 1 get, 2 check, 3 close."""
    if call.text("HANDLERTYPE") != _HANDLER_TYPE:
        raise Refused(_codes.EXCEPTION)
    match call.text("VERIFYTYPE"):
        case "1":
            return _get(state, call)
        case "2":
            return _check(state, call)
        case "3":
            return _close(state, call)
        case _:
            raise Refused(_codes.EXCEPTION)


def _get(state: State, call: Call) -> Reply:
    token = state.accounts.log_in(call.text("UID"), call.text("PWD"), state.now())
    return success_json(state.options.dialect, token)


def _check(state: State, call: Call) -> Reply:
    if state.accounts.holder(call.token, state.now()) is None:
        raise Refused(_codes.EXCEPTION)
    return success_json(state.options.dialect)


def _close(state: State, call: Call) -> Reply:
    reply = _check(state, call)
    state.accounts.close(call.token)
    return reply
