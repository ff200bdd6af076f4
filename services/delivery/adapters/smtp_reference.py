"""The reference mail adapter on aiosmtplib: slow, plain, and what our own dialogue must agree with.

One connection per mail, no pipelining. It runs under the same conformance suite and is not for production.
"""

import time
from collections.abc import Sequence

import aiosmtplib

from libs.clock import Clock
from libs.contracts.outcomes import Channel
from libs.contracts.reasons import Reason
from services.delivery.adapters.smtp.mime import Composer, Mail
from services.delivery.adapters.smtp.opening import Features, tls_context
from services.delivery.domain.outbound import Outbound, Sender, SmtpAccount
from services.delivery.domain.outcomes import NOT_CALLED, Ambiguous, Deferred, Outcome, Rejected, Sent
from services.delivery.domain.refusals.smtp import Reply, sort_reply
from services.delivery.ports import Settle


class SmtpReference:
    """The port's mail provider, through aiosmtplib."""

    channel = Channel.EMAIL

    def __init__(self, verp_key: bytes, clock: Clock) -> None:
        self._verp_key = verp_key
        self._clock = clock

    async def send(self, sender: Sender, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        """See the port."""
        account = sender.account
        assert isinstance(account, SmtpAccount)
        composer = Composer(account, self._verp_key, self._clock)
        for index, message in enumerate(messages):
            if time.monotonic() >= deadline:
                settle(index, NOT_CALLED)
            else:
                settle(index, await _send_one(account, composer, message))

    async def close(self) -> None:
        """There is nothing to close."""


async def _send_one(account: SmtpAccount, composer: Composer, message: Outbound) -> Outcome:
    client = aiosmtplib.SMTP(
        hostname=account.host,
        port=account.port,
        timeout=account.reply_timeout_seconds,
        local_hostname=account.helo_name,
        use_tls=account.tls == "implicit",
        start_tls={"required": True, "opportunistic": None}.get(account.tls, False),
        tls_context=None if account.tls == "off" else tls_context(account),
    )
    try:
        await client.connect()
        await client.rset()  # sends EHLO, or HELO, if nothing has yet
        if account.username is not None:
            await client.login(account.username, account.password or "")
    except aiosmtplib.SMTPResponseException as error:
        client.close()
        if isinstance(error, aiosmtplib.SMTPAuthenticationError):  # its code may be from another mechanism's step
            return Deferred(Reason.SENDER_MISCONFIGURED, error.message, code=error.code, sender_fault=True)
        return sort_reply(Reply(error.code, error.message), "CONNECT")
    except (aiosmtplib.SMTPException, OSError) as error:
        client.close()
        return Deferred(Reason.PROVIDER_UNAVAILABLE, str(error))
    mail = composer.compose(message, _features(client))
    try:
        return mail if isinstance(mail, Rejected) else await _transfer(client, account, mail)
    finally:
        client.close()


def _features(client: aiosmtplib.SMTP) -> Features:
    size = client.esmtp_extensions.get("size")
    return Features(
        eight_bit=client.supports_extension("8bitmime"),
        utf8=client.supports_extension("smtputf8"),
        size=None if size is None else int(size or 0),
    )


async def _transfer(client: aiosmtplib.SMTP, account: SmtpAccount, mail: Mail) -> Outcome:
    command = "MAIL"
    try:
        for command, line in zip(("MAIL", "RCPT"), mail.envelope.splitlines(), strict=False):
            said = await client.execute_command(line)
            if said.code not in (250, 251, 252):
                return sort_reply(Reply(said.code, said.message), command)
    except (aiosmtplib.SMTPException, OSError) as error:
        return Deferred(Reason.PROVIDER_UNAVAILABLE, f"{command}: {error}")
    try:
        said = await client.data(mail.text, timeout=account.timeout_seconds)
    except aiosmtplib.SMTPDataError as error:
        return sort_reply(Reply(error.code, error.message), "message")
    except aiosmtplib.SMTPTimeoutError:
        return Ambiguous(Reason.TIMED_OUT, "no reply in time after the mail was handed over")
    except (aiosmtplib.SMTPException, OSError) as error:
        return Ambiguous(Reason.CONNECTION_LOST, str(error))
    return Sent(said.message or None)
