"""What a session offers for SMS; each method checks its arguments and makes one call."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from every8d_async import _requests as requests
from every8d_async._endpoints import CANCEL_SMS, SEND_SMS, SMS_REPORTS, Endpoint
from every8d_async._models import Cancellation, DeliveryReport, Page, Receipt
from every8d_async._paging import Pager
from every8d_async._requests import PageQuery

Args = TypeVar("Args")
Result = TypeVar("Result")


class Caller(Protocol):
    """Makes a call: the session's way to the gateway."""

    async def __call__(self, endpoint: Endpoint[Args, Result], args: Args) -> Result:
        """Make the call, or raise what `_errors` says."""
        ...


class Sms:
    """Text messages: send them, follow them, cancel them."""

    def __init__(self, call: Caller) -> None:
        self._call = call

    async def send(
        self,
        text: str,
        to: str | Iterable[str],
        *,
        subject: str = "",
        send_at: datetime | None = None,
        valid_for: timedelta | None = None,
        event_id: str | None = None,
    ) -> Receipt:
        """
        Send one text to one mobile, or to many (§2.2).

        Args:
            text: What people read; up to 333 characters go out as one long message, more are split.
            to: A mobile or an iterable of them, each once; see `mobile` for the spellings.
            subject: A note for your own records; it is not sent to anybody.
            send_at: When to send, with a time zone; at once if None.
            valid_for: How long delivery is tried, in whole minutes; 1440 minutes if None.
            event_id: An interactive-reply channel, which adds a link of 17 characters to the text;
                ``"-1"`` for the account's default channel.

        Returns:
            What was sent and what it cost. Look at `Receipt.unsent`: where the credit runs out,
            the gateway sends to some, or to nobody, and still answers with a receipt.

        Raises:
            InvalidRequest: Something can't be sent as it is; all problems are listed.
            GatewayRefused: The gateway said no; nothing was sent. `AuthenticationFailed` if it
                refused the account.
            GatewayUnreachable: Nothing left us; sending again is safe.
            GatewayUnavailable: The login got no answer; nothing was sent.
            AccessBlocked: A firewall stands in front; nothing was sent.
            RateLimited: The gateway asked for a pause; nothing was sent.
            OutcomeUnknown: It may have been sent, and was not repeated.
            SessionMisuse: The session is closed, or belongs elsewhere; nothing was sent.
        """
        message = requests.text_message(
            SEND_SMS.operation,
            text,
            to,
            subject=subject,
            send_at=send_at,
            valid_for=valid_for,
            event_id=event_id,
        )
        return await self._call(SEND_SMS, message)

    def delivery_reports(
        self, batch_id: str, *, start_page: int = 1, window: int = 4
    ) -> Pager[DeliveryReport]:
        """
        Read what became of a batch's messages (§4.2), in pages of up to 1000 rows.

        Nothing is asked for until the pager is iterated. A wrong batch id looks the same as a batch
        without reports: empty.

        Args:
            batch_id: From the receipt.
            start_page: The page to begin with, from 1.
            window: How many pages are asked for at once, after the first.

        Raises:
            InvalidRequest: The batch id is empty or holds a control character, or a number is
                below 1. Raised here; what follows is raised while iterating, with `page` set.
            GatewayRefused: The gateway said no.
            GatewayUnreachable: No connection came about.
            GatewayUnavailable: No answer came, after all attempts.
            MalformedReply: A page broke the format.
            AccessBlocked: A firewall stands in front.
            RateLimited: The gateway asked for a longer pause than the time limit allows.
            SessionMisuse: The session is closed, or belongs elsewhere.
        """
        batch_id = requests.page_query(SMS_REPORTS.operation, batch_id, start_page, window)

        async def fetch(number: int) -> Page[DeliveryReport]:
            page = await self._call(SMS_REPORTS, PageQuery(batch_id, number))
            return Page(number, page.total, page.rows)

        return Pager(fetch, start_page=start_page, window=window)

    async def cancel(self, batch_id: str) -> Cancellation:
        """
        Cancel a scheduled batch that has not gone out yet (§5.1).

        Returns:
            How many messages were dropped, and the points given back.

        Raises:
            InvalidRequest: The batch id is empty or holds a control character.
            CancelRefused: The gateway kept the batch; `code` says why, -8 is worth another try.
            GatewayRefused: The gateway said no for another reason; nothing was cancelled.
            GatewayUnreachable: Nothing left us; trying again is safe.
            GatewayUnavailable: The login got no answer; nothing was cancelled.
            AccessBlocked: A firewall stands in front; nothing was cancelled.
            RateLimited: The gateway asked for a pause; nothing was cancelled.
            OutcomeUnknown: It may have been cancelled; ask `delivery_reports` before trying again.
            SessionMisuse: The session is closed, or belongs elsewhere; nothing was cancelled.
        """
        return await self._call(CANCEL_SMS, requests.batch(CANCEL_SMS.operation, batch_id))
