"""Opens a session that accepts mail: connect, greeting, EHLO, STARTTLS, AUTH (RFC 5321, 3207, 4954)."""

import asyncio
import base64
import ssl
from dataclasses import dataclass

from libs.contracts.reasons import Reason
from services.delivery.adapters.smtp.connection import SmtpConnection
from services.delivery.domain.outbound import SmtpAccount
from services.delivery.domain.outcomes import Deferred, Outcome
from services.delivery.domain.refusals.smtp import Reply, sort_reply


@dataclass(frozen=True, slots=True)
class Features:
    """The extensions that the server's EHLO offers."""

    pipelining: bool = False
    chunking: bool = False
    eight_bit: bool = False
    utf8: bool = False
    starttls: bool = False
    size: int | None = None  # None: SIZE not offered; 0: offered without a limit
    auth: frozenset[str] = frozenset()


@dataclass(slots=True)
class Session:
    """An open connection and what may be sent on it."""

    connection: SmtpConnection
    features: Features
    by_chunks: bool = False  # how its mails are handed over: by BDAT, or by DATA
    mails: int = 0  # number of mails given to it
    since: float = 0.0  # when it was last acquired or released


class _Refused(Exception):
    """The opening failed with this outcome, for every mail that waited for it."""

    def __init__(self, outcome: Deferred) -> None:
        super().__init__(outcome.text)
        self.outcome = outcome


def tls_context(account: SmtpAccount) -> ssl.SSLContext:
    """Return the TLS context. Reads certificates from disk, so call it off the loop. Opportunistic TLS does not verify
    the name: rejecting a wrong certificate would send the mail in the clear instead, which is worse."""
    context = ssl.create_default_context(cafile=account.ca_file)
    if account.tls == "opportunistic":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def open_session(account: SmtpAccount, context: ssl.SSLContext | None) -> Session | Deferred:
    """Open a session ready for MAIL, or return why there is none, which is never the fault of a mail."""
    try:
        connection = await _connect(account, context)
    except _Refused as refused:
        return refused.outcome
    session = None
    try:
        session = await _introduce(account, context, connection)
    except _Refused as refused:
        return refused.outcome
    finally:
        if session is None:  # refused, or cancelled halfway
            connection.close()
    return session


async def _connect(account: SmtpAccount, context: ssl.SSLContext | None) -> SmtpConnection:
    loop = asyncio.get_running_loop()
    implicit = context if account.tls == "implicit" else None
    try:
        async with asyncio.timeout(account.connect_timeout_seconds):
            _, connection = await loop.create_connection(
                lambda: SmtpConnection(loop),
                account.host,
                account.port,
                ssl=implicit,
                server_hostname=account.host if implicit else None,
            )
    except ssl.SSLCertVerificationError as error:
        raise _Refused(_our_fault(f"the certificate of {account.host} is not valid: {error}")) from error
    except TimeoutError as error:
        raise _Refused(_away(f"no connection to {account.host} in {account.connect_timeout_seconds:g} s")) from error
    except OSError as error:
        raise _Refused(_away(f"no connection to {account.host}: {error}")) from error
    except UnicodeError as error:  # an invalid host name fails in the resolver's encoding
        raise _Refused(_our_fault(f"{account.host} is not a valid host name: {error}")) from error
    return connection


async def _introduce(account: SmtpAccount, context: ssl.SSLContext | None, connection: SmtpConnection) -> Session:
    greeting = await _reply(account, connection, "CONNECT")
    if greeting.code != 220:
        raise _Refused(_deferred(greeting, "CONNECT"))
    features = await _hello(account, connection)
    if account.tls in ("required", "opportunistic") and context is not None:
        features = await _encrypt(account, context, connection, features)
    if account.username is not None:
        await _authenticate(account, connection, features)
    return Session(connection, features)


async def _hello(account: SmtpAccount, connection: SmtpConnection) -> Features:
    reply = await _ask(account, connection, f"EHLO {account.helo_name}", "EHLO")
    if reply.code == 250:
        return read_features(reply)
    if reply.code < 500:
        raise _Refused(_deferred(reply, "EHLO"))
    reply = await _ask(account, connection, f"HELO {account.helo_name}", "EHLO")
    if reply.code != 250:
        raise _Refused(_deferred(reply, "EHLO"))
    return Features()


def read_features(reply: Reply) -> Features:
    """Return the EHLO keywords that we use; unknown ones and the server's own name are ignored."""
    offered: dict[str, list[str]] = {}
    for line in reply.text.split("\n")[1:]:
        words = line.upper().replace("AUTH=", "AUTH ").split()  # "AUTH=": older servers
        if words:
            offered.setdefault(words[0], []).extend(words[1:])
    size = offered.get("SIZE")
    return Features(
        pipelining="PIPELINING" in offered,
        chunking="CHUNKING" in offered,
        eight_bit="8BITMIME" in offered,
        utf8="SMTPUTF8" in offered,
        starttls="STARTTLS" in offered,
        size=None if size is None else int(size[0]) if size and size[0].isascii() and size[0].isdigit() else 0,
        auth=frozenset(offered.get("AUTH", ())),
    )


async def _encrypt(
    account: SmtpAccount, context: ssl.SSLContext, connection: SmtpConnection, features: Features
) -> Features:
    if not features.starttls:
        if account.tls == "required":
            raise _Refused(_our_fault(f"{account.host} does not offer STARTTLS, and this sender requires it"))
        return features
    reply = await _ask(account, connection, "STARTTLS", "STARTTLS")
    if reply.code != 220:
        raise _Refused(_deferred(reply, "STARTTLS"))
    if connection.has_unread:
        # bytes sent in the clear after the 220 would be read as if they had come encrypted (CVE-2011-0411)
        raise _Refused(_away(f"{account.host} sent something between STARTTLS and the handshake"))
    try:
        await connection.start_tls(context, account.host, account.connect_timeout_seconds)
    except ssl.SSLCertVerificationError as error:
        raise _Refused(_our_fault(f"the certificate of {account.host} is not valid: {error}")) from error
    except OSError as error:
        raise _Refused(_away(f"the TLS handshake with {account.host} failed: {error}")) from error
    return await _hello(account, connection)  # what was offered in the clear no longer counts (RFC 3207 §4.2)


async def _authenticate(account: SmtpAccount, connection: SmtpConnection, features: Features) -> None:
    if account.tls == "opportunistic" and not connection.is_encrypted:
        raise _Refused(_our_fault(f"{account.host} offers no TLS, and passwords are never sent in the clear"))
    user, password = (account.username or "").encode(), (account.password or "").encode()
    if "PLAIN" in features.auth:
        steps = ["AUTH PLAIN " + _base64(b"\0" + user + b"\0" + password)]
    elif "LOGIN" in features.auth:
        steps = ["AUTH LOGIN", _base64(user), _base64(password)]
    else:
        offered = ", ".join(sorted(features.auth)) or "none"
        raise _Refused(_our_fault(f"{account.host} offers neither AUTH PLAIN nor LOGIN (offered: {offered})"))
    for number, step in enumerate(steps, start=1):
        reply = await _ask(account, connection, step, "AUTH")
        if reply.code == 235:
            return
        if reply.code != 334 or number == len(steps):
            raise _Refused(_deferred(reply, "AUTH"))


async def _ask(account: SmtpAccount, connection: SmtpConnection, line: str, command: str) -> Reply:
    connection.write(line.encode() + b"\r\n")
    return await _reply(account, connection, command)


async def _reply(account: SmtpAccount, connection: SmtpConnection, command: str) -> Reply:
    if await connection.wait(1, account.reply_timeout_seconds):
        return connection.replies.popleft()
    why = connection.end.value if connection.end else "nothing came"
    raise _Refused(_away(f"{account.host} at {command}: {why}"))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _deferred(reply: Reply, command: str) -> Deferred:
    outcome: Outcome = sort_reply(reply, command)
    if isinstance(outcome, Deferred):
        return outcome
    return _away(reply.text)  # before a mail the table has no final outcome, but the type does not say so


def _away(text: str) -> Deferred:
    return Deferred(Reason.PROVIDER_UNAVAILABLE, text)


def _our_fault(text: str) -> Deferred:
    return Deferred(Reason.SENDER_MISCONFIGURED, text, sender_fault=True)
