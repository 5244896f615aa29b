"""What a session offers for SMS and MMS; each method checks its arguments and makes one call."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from every8d_async import _endpoints as endpoints
from every8d_async import _requests as requests
from every8d_async._border import discreet
from every8d_async._bulk import BulkRun, BulkSummary
from every8d_async._convert import ReportPage
from every8d_async._endpoints import Endpoint
from every8d_async._estimate import estimate_mms, estimate_sms
from every8d_async._models import (
    Attachment,
    Cancellation,
    DeliveryReport,
    Estimate,
    FilteredReceipt,
    Page,
    PersonalizedMessage,
    Receipt,
    Reply,
    ResponseFormat,
    TemplateRecipient,
)
from every8d_async._paging import Pager
from every8d_async._plans import Caller, Limits, broadcast_plan, personal_plan
from every8d_async._requests import Options, PageQuery
from every8d_async._watch import Watch

Row = TypeVar("Row")
Bulk = Iterable[Row] | AsyncIterable[Row]

_EVERY = timedelta(seconds=30)
_TIMEOUT = timedelta(hours=26)


class _Batches:
    """What SMS and MMS have in common: following a batch, and cancelling it."""

    _reports: Mapping[ResponseFormat, Endpoint[PageQuery, ReportPage]]
    _cancel: Endpoint[str, Cancellation]

    def __init__(self, call: Caller) -> None:
        self._call = call

    def delivery_reports(
        self,
        batch_id: str,
        *,
        start_page: int = 1,
        window: int = 4,
        response_format: ResponseFormat = ResponseFormat.JSON,
    ) -> Pager[DeliveryReport]:
        """
        Read what became of a batch's messages (§4.2, §4.4), in pages of up to 1000 rows.

        A query, which sends nothing. Nothing is asked for until the pager is iterated. A wrong
        batch id looks the same as a batch without reports: empty.

        Args:
            batch_id: From the receipt.
            start_page: The page to begin with, from 1.
            window: How many pages are asked for at once, after the first.
            response_format: How the gateway writes the rows. JSON says the most: TAB lacks
                `reference` and `real_cost`, XML may lack more.

        Raises:
            InvalidRequest: The batch id is empty or holds a control character, or an option is
                wrong. Raised here; what follows is raised while iterating, with `page` set.
            GatewayRefused: The gateway said no; `AuthenticationFailed` if it refused the account.
            GatewayUnreachable: No connection came about.
            GatewayUnavailable: No answer came, after all attempts.
            MalformedReply: A page broke the format.
            AccessBlocked: A firewall stands in front.
            RateLimited: The gateway asked for a longer pause than the time limit allows.
            SessionMisuse: The session is closed, or belongs elsewhere.
        """
        return self._pager(self._reports, batch_id, start_page, window, response_format)

    def watch(
        self, batch_id: str, *, every: timedelta = _EVERY, timeout: timedelta = _TIMEOUT
    ) -> Watch:
        """
        Follow a batch (§4.2, §4.4): each report when it is new or has changed, until all are final.

        ::

            async for report in session.sms.watch(receipt.batch_id): ...

        No rows yet is not the end. When the time is up the iteration ends with `Watch.is_complete`
        False. It may be left at any time.

        Args:
            batch_id: From the receipt.
            every: The time between two readings of the whole batch.
            timeout: The time after which to stop; the gateway tries delivery for `valid_for`.

        Raises:
            InvalidRequest: An argument is wrong. What follows is raised while iterating, as by
                `delivery_reports`; but once a reading has succeeded, `GatewayUnavailable`,
                `GatewayUnreachable` and `RateLimited` only after ten failed readings in a row.
        """
        operation = self._reports[ResponseFormat.JSON].operation
        requests.check_watching(operation, batch_id, every, timeout)
        return Watch(
            lambda: self.delivery_reports(batch_id),
            every=every.total_seconds(),
            timeout=timeout.total_seconds(),
        )

    async def cancel(self, batch_id: str) -> Cancellation:
        """
        Cancel a scheduled batch that has not gone out yet (§5.1, §5.2).

        Returns:
            How many messages were dropped, and the points given back.

        Raises:
            InvalidRequest: The batch id is empty or holds a control character; nothing was
                cancelled.
            CancelRefused: The gateway kept the batch, nothing was cancelled; `code` says why, -8 is
                worth another try.
            GatewayRefused: The gateway said no for another reason; nothing was cancelled.
                `AuthenticationFailed` if it refused the account.
            GatewayUnreachable: Nothing left us; trying again is safe.
            GatewayUnavailable: The login got no answer, or tokens die as fast as they are issued;
                nothing was cancelled.
            MalformedReply: The login's reply broke the format; nothing was cancelled.
            AccessBlocked: A firewall stands in front; nothing was cancelled.
            RateLimited: The gateway asked for a pause; nothing was cancelled.
            OutcomeUnknown: It may have been cancelled; ask `delivery_reports` before trying again.
            SessionMisuse: The session is closed, or belongs elsewhere; nothing was cancelled.
        """
        checked = requests.batch(self._cancel.operation, batch_id)
        return await self._call(self._cancel, checked)

    def _pager(
        self,
        formats: Mapping[ResponseFormat, Endpoint[PageQuery, Any]],
        batch_id: str,
        start_page: int,
        window: int,
        response_format: ResponseFormat,
    ) -> Pager[Any]:
        operation = formats[ResponseFormat.JSON].operation
        requests.check_paging(operation, batch_id, start_page, window, response_format, formats)
        endpoint = formats[response_format]

        async def fetch(number: int) -> Page[Any]:
            page = await self._call(endpoint, PageQuery(batch_id, number))
            return Page(number, page.total, page.rows)

        return Pager(fetch, start_page=start_page, window=window)


class Sms(_Batches):
    """Text messages: send them, follow them, cancel them."""

    _reports = endpoints.SMS_REPORTS
    _cancel = endpoints.CANCEL_SMS

    @discreet
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
            InvalidRequest: Something can't be sent as it is; nothing was sent. All problems are
                listed.
            GatewayRefused: The gateway said no; nothing was sent. `AuthenticationFailed` if it
                refused the account.
            GatewayUnreachable: Nothing left us; sending again is safe.
            GatewayUnavailable: The login got no answer, or tokens die as fast as they are issued;
                nothing was sent.
            MalformedReply: The login's reply broke the format; nothing was sent.
            AccessBlocked: A firewall stands in front; nothing was sent.
            RateLimited: The gateway asked for a pause; nothing was sent.
            OutcomeUnknown: It may have been sent, and was not repeated.
            SessionMisuse: The session is closed, or belongs elsewhere; nothing was sent.
        """
        endpoint = endpoints.SEND_SMS
        options = Options(subject, valid_for, event_id)
        message = requests.text_message(endpoint.operation, text, to, options, send_at)
        return await self._call(endpoint, message)

    @discreet
    async def send_filtered(
        self,
        text: str,
        to: str | Iterable[str],
        *,
        dry_run: bool = False,
        subject: str = "",
        send_at: datetime | None = None,
        valid_for: timedelta | None = None,
        event_id: str | None = None,
    ) -> FilteredReceipt:
        """
        Send one text, but to nobody who was sent the same text in the last 24 hours (§2.5).

        Args:
            text: As for `send`.
            to: As for `send`.
            dry_run: Only ask who would be filtered; nothing is sent, and it costs nothing.
            subject: As for `send`.
            send_at: As for `send`.
            valid_for: As for `send`.
            event_id: As for `send`.

        Returns:
            As `send`, and who was left out. `FilteredReceipt.batch_id` is empty where everybody
            was, and after a dry run.

        Raises:
            InvalidRequest: Something can't be sent as it is; nothing was sent. All problems are
                listed.
            GatewayRefused: The gateway said no; nothing was sent. `AuthenticationFailed` if it
                refused the account.
            GatewayUnreachable: Nothing left us; sending again is safe.
            GatewayUnavailable: The login, or a dry run, got no answer; nothing was sent.
            MalformedReply: The reply to the login or a dry run broke the format; nothing was sent.
            AccessBlocked: A firewall stands in front; nothing was sent.
            RateLimited: The gateway asked for a pause; nothing was sent.
            OutcomeUnknown: It may have been sent, and was not repeated. The same call within 24
                hours, but not before a minute has passed, sends to those who did not get it.
            SessionMisuse: The session is closed, or belongs elsewhere; nothing was sent.
        """
        endpoint = endpoints.FILTER_DRY_RUN if dry_run else endpoints.SEND_FILTERED
        options = Options(subject, valid_for, event_id)
        message = requests.text_message(endpoint.operation, text, to, options, send_at)
        return await self._call(endpoint, message)

    @discreet
    async def send_personalized(
        self,
        messages: Iterable[PersonalizedMessage],
        *,
        subject: str = "",
        valid_for: timedelta | None = None,
        event_id: str | None = None,
    ) -> Receipt:
        """
        Send each person a text of their own, in one request (§2.3).

        The gateway's makers advise 500 to 2,000 recipients a request; a mobile may repeat here.

        Args:
            messages: Each with a mobile and a text; references must be unique.
            subject: As for `send`.
            valid_for: As for `send`.
            event_id: As for `send`.

        Returns:
            As for `send`.

        Raises:
            InvalidRequest: Something can't be sent as it is; nothing was sent. All problems are
                listed, such as ``messages[3].mobile: …``.
            GatewayRefused: The gateway said no; nothing was sent. `AuthenticationFailed` if it
                refused the account.
            GatewayUnreachable: Nothing left us; sending again is safe.
            GatewayUnavailable: The login got no answer, or tokens die as fast as they are issued;
                nothing was sent.
            MalformedReply: The login's reply broke the format; nothing was sent.
            AccessBlocked: A firewall stands in front; nothing was sent.
            RateLimited: The gateway asked for a pause; nothing was sent.
            OutcomeUnknown: It may have been sent, and was not repeated.
            SessionMisuse: The session is closed, or belongs elsewhere; nothing was sent.
        """
        endpoint = endpoints.SEND_PERSONALIZED
        options = Options(subject, valid_for, event_id)
        message = requests.personalized(endpoint.operation, messages, options)
        return await self._call(endpoint, message)

    @discreet
    async def send_template(
        self,
        template: str,
        recipients: Iterable[TemplateRecipient],
        *,
        subject: str = "",
        valid_for: timedelta | None = None,
        event_id: str | None = None,
    ) -> Receipt:
        """
        Send one text with each person's own fields in it, in one request (§2.4).

        Args:
            template: The text, with ``%field1%`` to ``%field5%`` where fields stand.
            recipients: Each with a mobile and as many fields as the template names; no field may
                hold ``|``, and references must be unique.
            subject: As for `send`.
            valid_for: As for `send`.
            event_id: As for `send`.

        Returns:
            As for `send`.

        Raises:
            InvalidRequest: Something can't be sent as it is; nothing was sent. All problems are
                listed, such as ``recipients[3].fields: …``.
            GatewayRefused: The gateway said no; nothing was sent. `AuthenticationFailed` if it
                refused the account.
            GatewayUnreachable: Nothing left us; sending again is safe.
            GatewayUnavailable: The login got no answer, or tokens die as fast as they are issued;
                nothing was sent.
            MalformedReply: The login's reply broke the format; nothing was sent.
            AccessBlocked: A firewall stands in front; nothing was sent.
            RateLimited: The gateway asked for a pause; nothing was sent.
            OutcomeUnknown: It may have been sent, and was not repeated.
            SessionMisuse: The session is closed, or belongs elsewhere; nothing was sent.
        """
        endpoint = endpoints.SEND_TEMPLATE
        options = Options(subject, valid_for, event_id)
        message = requests.template(endpoint.operation, template, recipients, options)
        return await self._call(endpoint, message)

    @discreet
    def send_bulk(
        self,
        messages: Bulk[PersonalizedMessage] | Bulk[TemplateRecipient],
        *,
        template: str | None = None,
        subject: str = "",
        valid_for: timedelta | None = None,
        event_id: str | None = None,
        batch_size: int = 500,
        max_in_flight: int = 8,
        max_points: Decimal | float | None = None,
        max_recipients: int | None = None,
        progress: Callable[[BulkSummary], None] | None = None,
    ) -> BulkRun[Any]:
        """
        Send each of very many people a text of their own, streamed (§2.3, §2.4).

        ::

            async with session.sms.send_bulk(messages) as run:
                async for outcome in run: ...

        A failed batch is a row, not an exception; input that can't be sent is a row of its own.
        A batch that may have gone out is never repeated. See `BulkRun`.

        Args:
            messages: Any iterable or async iterable, read as it is needed; `PersonalizedMessage`,
                or `TemplateRecipient` with `template`.
            template: As for `send_template`, or None.
            subject: As for `send`.
            valid_for: As for `send`.
            event_id: As for `send`.
            batch_size: Recipients in a request; the gateway's makers advise 500 to 2,000.
            max_in_flight: Requests at once.
            max_points: Pause before the batch that would cross so many points, by our estimate.
            max_recipients: Pause before the batch that would cross so many recipients.
            progress: Hears the summary after each batch, in the event loop; it must be quick.

        Raises:
            InvalidRequest: An option is wrong; what is wrong with one message is its row.
        """
        endpoint = endpoints.SEND_PERSONALIZED if template is None else endpoints.SEND_TEMPLATE
        options = Options(subject, valid_for, event_id)
        limits = Limits(batch_size, max_in_flight, max_points, max_recipients, progress)
        plan = personal_plan("sms.send_bulk", self._call, endpoint, template, options, limits)
        return BulkRun(messages, plan)

    @discreet
    def broadcast(
        self,
        text: str,
        to: str | Bulk[str],
        *,
        subject: str = "",
        send_at: datetime | None = None,
        valid_for: timedelta | None = None,
        event_id: str | None = None,
        filtered: bool = False,
        batch_size: int = 500,
        max_in_flight: int = 8,
        max_points: Decimal | float | None = None,
        max_recipients: int | None = None,
        progress: Callable[[BulkSummary], None] | None = None,
    ) -> BulkRun[str]:
        """
        Send one text to very many people, streamed (§2.2, §2.5).

        As `send_bulk`; each outcome's `messages` holds the mobiles as they were given.

        Args:
            text: As for `send`.
            to: Any iterable or async iterable of mobiles, read as it is needed.
            subject: As for `send`.
            send_at: As for `send`.
            valid_for: As for `send`.
            event_id: As for `send`.
            filtered: Leave out who had the same text in the last 24 hours, as `send_filtered`.
            batch_size: Recipients in a request; the gateway's makers advise 500 to 2,000.
            max_in_flight: Requests at once.
            max_points: Pause before the batch that would cross so many points, by our estimate.
            max_recipients: Pause before the batch that would cross so many recipients.
            progress: Hears the summary after each batch, in the event loop; it must be quick.

        Raises:
            InvalidRequest: An option is wrong; a bad mobile is its row.
        """
        endpoint = endpoints.SEND_FILTERED if filtered else endpoints.SEND_SMS
        options = Options(subject, valid_for, event_id)
        limits = Limits(batch_size, max_in_flight, max_points, max_recipients, progress)
        plan = broadcast_plan("sms.broadcast", self._call, endpoint, text, send_at, options, limits)
        return BulkRun((to,) if isinstance(to, str) else to, plan)

    def replies(
        self,
        batch_id: str,
        *,
        start_page: int = 1,
        window: int = 1,
        response_format: ResponseFormat = ResponseFormat.JSON,
    ) -> Pager[Reply]:
        """
        Read what people answered to a batch (§4.3).

        A query, which sends nothing. Nothing is asked for until the pager is iterated. The official
        text gives two page sizes, 10 and 1000; the pager trusts neither.

        Args:
            batch_id: From the receipt.
            start_page: The page to begin with, from 1.
            window: How many pages are asked for at once, after the first.
            response_format: JSON, or TAB, which a reply with a TAB or a line end in it breaks.

        Raises:
            InvalidRequest: The batch id is empty or holds a control character, or an option is
                wrong; there is no XML for replies. Raised here; what follows is raised while
                iterating, with `page` set.
            GatewayRefused: The gateway said no; `AuthenticationFailed` if it refused the account.
            GatewayUnreachable: No connection came about.
            GatewayUnavailable: No answer came, after all attempts.
            MalformedReply: A page broke the format.
            AccessBlocked: A firewall stands in front.
            RateLimited: The gateway asked for a longer pause than the time limit allows.
            SessionMisuse: The session is closed, or belongs elsewhere.
        """
        return self._pager(endpoints.SMS_REPLIES, batch_id, start_page, window, response_format)

    @discreet
    def estimate(
        self, text: str, to: int | str | Iterable[str] = 1, *, event_id: str | None = None
    ) -> Estimate:
        """
        Estimate what a text costs, without asking anybody: an estimate, not a promise.

        Args:
            text: The text.
            to: How many people at home, or their mobiles; a foreign one costs three times as much.
            event_id: As for `send`; its link makes the text longer.

        Raises:
            InvalidRequest: The text is empty or can't be sent, or a mobile is none.
        """
        return estimate_sms(text, to, event_id)


class Mms(_Batches):
    """Messages with a picture: send them, follow them, cancel them."""

    _reports = endpoints.MMS_REPORTS
    _cancel = endpoints.CANCEL_MMS

    @discreet
    async def send(
        self,
        text: str,
        to: str | Iterable[str],
        attachment: Attachment,
        *,
        subject: str,
        send_at: datetime | None = None,
        valid_for: timedelta | None = None,
        event_id: str | None = None,
    ) -> Receipt:
        """
        Send one picture and text to one mobile, or to many (§3.3).

        Args:
            text: Up to 4,000 characters; it may be empty.
            to: A mobile or an iterable of them, each once; none may be foreign.
            attachment: The picture; with the text 300 KB at most.
            subject: What people see first: up to 15 characters, or 39 when all are ASCII.
            send_at: When to send, with a time zone; at once if None.
            valid_for: How long delivery is tried, in whole minutes; 1440 minutes if None.
            event_id: An interactive-reply channel.

        Returns:
            As for `Sms.send`.

        Raises:
            InvalidRequest: Something can't be sent as it is; nothing was sent. All problems are
                listed.
            GatewayRefused: The gateway said no; nothing was sent. `AuthenticationFailed` if it
                refused the account.
            GatewayUnreachable: Nothing left us; sending again is safe.
            GatewayUnavailable: The login got no answer, or tokens die as fast as they are issued;
                nothing was sent.
            MalformedReply: The login's reply broke the format; nothing was sent.
            AccessBlocked: A firewall stands in front; nothing was sent.
            RateLimited: The gateway asked for a pause; nothing was sent.
            OutcomeUnknown: It may have been sent, and was not repeated.
            SessionMisuse: The session is closed, or belongs elsewhere; nothing was sent.
        """
        endpoint = endpoints.SEND_MMS
        options = Options(subject, valid_for, event_id, attachment, mms=True)
        message = requests.text_message(endpoint.operation, text, to, options, send_at)
        return await self._call(endpoint, message)

    @discreet
    async def send_personalized(
        self,
        messages: Iterable[PersonalizedMessage],
        attachment: Attachment,
        *,
        subject: str,
        valid_for: timedelta | None = None,
        event_id: str | None = None,
    ) -> Receipt:
        """
        Send each person one picture and a text of their own, in one request (§3.4).

        Args:
            messages: As for `Sms.send_personalized`.
            attachment: As for `send`.
            subject: As for `send`.
            valid_for: As for `send`.
            event_id: As for `send`.

        Returns:
            As for `Sms.send`.

        Raises:
            InvalidRequest: Something can't be sent as it is; nothing was sent. All problems are
                listed.
            GatewayRefused: The gateway said no; nothing was sent. `AuthenticationFailed` if it
                refused the account.
            GatewayUnreachable: Nothing left us; sending again is safe.
            GatewayUnavailable: The login got no answer, or tokens die as fast as they are issued;
                nothing was sent.
            MalformedReply: The login's reply broke the format; nothing was sent.
            AccessBlocked: A firewall stands in front; nothing was sent.
            RateLimited: The gateway asked for a pause; nothing was sent.
            OutcomeUnknown: It may have been sent, and was not repeated.
            SessionMisuse: The session is closed, or belongs elsewhere; nothing was sent.
        """
        endpoint = endpoints.SEND_MMS_PERSONALIZED
        options = Options(subject, valid_for, event_id, attachment, mms=True)
        message = requests.personalized(endpoint.operation, messages, options)
        return await self._call(endpoint, message)

    @discreet
    async def send_template(
        self,
        template: str,
        recipients: Iterable[TemplateRecipient],
        attachment: Attachment,
        *,
        subject: str,
        valid_for: timedelta | None = None,
        event_id: str | None = None,
    ) -> Receipt:
        """
        Send one picture and one text with each person's own fields in it, in one request (§3.5).

        Args:
            template: As for `Sms.send_template`.
            recipients: As for `Sms.send_template`.
            attachment: As for `send`.
            subject: As for `send`.
            valid_for: As for `send`.
            event_id: As for `send`.

        Returns:
            As for `Sms.send`.

        Raises:
            InvalidRequest: Something can't be sent as it is; nothing was sent. All problems are
                listed.
            GatewayRefused: The gateway said no; nothing was sent. `AuthenticationFailed` if it
                refused the account.
            GatewayUnreachable: Nothing left us; sending again is safe.
            GatewayUnavailable: The login got no answer, or tokens die as fast as they are issued;
                nothing was sent.
            MalformedReply: The login's reply broke the format; nothing was sent.
            AccessBlocked: A firewall stands in front; nothing was sent.
            RateLimited: The gateway asked for a pause; nothing was sent.
            OutcomeUnknown: It may have been sent, and was not repeated.
            SessionMisuse: The session is closed, or belongs elsewhere; nothing was sent.
        """
        endpoint = endpoints.SEND_MMS_TEMPLATE
        options = Options(subject, valid_for, event_id, attachment, mms=True)
        message = requests.template(endpoint.operation, template, recipients, options)
        return await self._call(endpoint, message)

    @discreet
    def send_bulk(
        self,
        messages: Bulk[PersonalizedMessage] | Bulk[TemplateRecipient],
        attachment: Attachment,
        *,
        subject: str,
        template: str | None = None,
        valid_for: timedelta | None = None,
        event_id: str | None = None,
        batch_size: int = 500,
        max_in_flight: int = 8,
        max_points: Decimal | float | None = None,
        max_recipients: int | None = None,
        progress: Callable[[BulkSummary], None] | None = None,
    ) -> BulkRun[Any]:
        """
        Send each of very many people one picture and a text of their own, streamed (§3.4, §3.5).

        As `Sms.send_bulk`.

        Args:
            messages: As for `Sms.send_bulk`.
            attachment: As for `send`.
            subject: As for `send`.
            template: As for `Sms.send_template`, or None.
            valid_for: As for `send`.
            event_id: As for `send`.
            batch_size: Recipients in a request; the gateway's makers advise 500 to 2,000.
            max_in_flight: Requests at once.
            max_points: Pause before the batch that would cross so many points, by our estimate.
            max_recipients: Pause before the batch that would cross so many recipients.
            progress: Hears the summary after each batch, in the event loop; it must be quick.

        Raises:
            InvalidRequest: An option is wrong; what is wrong with one message is its row.
        """
        endpoint = (
            endpoints.SEND_MMS_PERSONALIZED if template is None else endpoints.SEND_MMS_TEMPLATE
        )
        options = Options(subject, valid_for, event_id, attachment, mms=True)
        limits = Limits(batch_size, max_in_flight, max_points, max_recipients, progress)
        plan = personal_plan("mms.send_bulk", self._call, endpoint, template, options, limits)
        return BulkRun(messages, plan)

    @discreet
    def estimate(
        self, attachment: Attachment, text: str = "", to: int | str | Iterable[str] = 1
    ) -> Estimate:
        """
        Estimate what an MMS costs, without asking anybody (§3.2): an estimate, not a promise.

        Args:
            attachment: The picture.
            text: The text beside it.
            to: How many people, or their mobiles.

        Raises:
            InvalidRequest: Picture and text are too large, or a mobile is none or foreign.
        """
        return estimate_mms(attachment, text, to)
