"""SMTP's commands; ends with the table COMMANDS."""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Callable

from services.simulator.adapters.smtp.chunks import bdat
from services.simulator.adapters.smtp.dialogue import Dialogue
from services.simulator.domain.arrivals import Arrival
from services.simulator.domain.faults import CUTTING, HANGING, Fault, of_address
from services.simulator.domain.mail import acceptable, path_of
from services.simulator.domain.reports import HOST, tag_of_return_path
from services.simulator.handlers import accept, judge, lose, refuse

_BUSY = "451 4.7.1 Try again later"
_GONE = "550 5.1.1 <{}>: Recipient address rejected: User unknown"
_AT_RECIPIENT: dict[Fault, str] = {
    Fault.GREYLISTED: _BUSY,
    Fault.TOO_MANY: "451 4.7.1 <{}>: Recipient address rejected: Rate limit exceeded",
    Fault.FULL: "452 4.2.2 <{}>: Mailbox full",
    Fault.DEAD: _GONE,
    Fault.INVALID: "553 5.1.3 <{}>: Bad recipient address syntax",
    Fault.MISMATCH: "550 5.7.1 <{}>: Relaying denied",
}
_AT_END: dict[Fault, str] = {
    Fault.INTERNAL: "554 5.3.0 Internal error",
    Fault.BLOCKED: "554 5.7.1 Message rejected as spam",
    Fault.DEAD_AFTER_DATA: "550 5.1.1 User unknown",
}
_MAIL_PARAMETERS = frozenset({"SIZE", "BODY", "SMTPUTF8", "AUTH", "RET", "ENVID"})
_RECIPIENT_PARAMETERS = frozenset({"NOTIFY", "ORCPT"})


def helo(session: Dialogue, argument: str) -> None:
    if not argument:
        session.reply("501 5.5.4 Syntax: HELO hostname")
        return
    session.reset()
    session.greeted = True
    session.reply(f"250 {HOST}")


def ehlo(session: Dialogue, argument: str) -> None:
    if not argument:
        session.reply("501 5.5.4 Syntax: EHLO hostname")
        return
    session.reset()
    session.greeted = True
    lines = [HOST, *session.policy.extensions(session.secure)]
    for line in lines[:-1]:
        session.reply(f"250-{line}")
    session.reply(f"250 {lines[-1]}")


def starttls(session: Dialogue, argument: str) -> None:
    context = session.policy.tls
    if context is None or session.secure:
        session.reply("502 5.5.1 STARTTLS not available")
        return
    session.reply("220 2.0.0 Ready to start TLS")
    session.flush()
    # commands sent before the handshake must not count after it (RFC 3207 §4.2): the buffer is dropped
    session.buffer, session.paused, session.secure, session.greeted = b"", True, True, False
    session.reset()

    async def upgrade() -> None:
        try:
            transport = await asyncio.get_running_loop().start_tls(
                session.transport, session, context, server_side=True
            )
        except (OSError, ConnectionError):
            session.transport.abort()
            return
        if transport is None:  # closed during the handshake
            return
        session.transport = transport
        session.resume()

    session.upgrading = asyncio.ensure_future(upgrade())


def auth(session: Dialogue, argument: str) -> None:
    method, _, initial = argument.partition(" ")
    method = method.upper()
    if not session.greeted or session.user is not None or session.sender is not None:
        session.reply("503 5.5.1 AUTH not allowed now")
    elif method not in ("PLAIN", "LOGIN"):
        session.reply("504 5.5.4 Unrecognized authentication type")
    else:
        session.login = [method]
        if initial:
            authenticate(session, initial)
        else:
            session.reply("334 " if method == "PLAIN" else "334 VXNlcm5hbWU6")


def authenticate(session: Dialogue, line: str) -> None:
    """Handle another line of an AUTH dialogue (RFC 4954; LOGIN as commonly implemented)."""
    login, session.login = session.login or [], None
    if line == "*":
        session.reply("501 5.7.0 Authentication cancelled")
        return
    try:
        text = base64.b64decode("" if line == "=" else line, validate=True).decode()
    except (binascii.Error, ValueError):
        session.reply("501 5.5.2 Cannot decode")
        return
    if login == ["LOGIN"]:
        session.login = ["LOGIN", text]
        session.reply("334 UGFzc3dvcmQ6")
        return
    user, password = [*text.split("\0"), "", "", ""][1:3] if login == ["PLAIN"] else (login[1], text)
    policy = session.policy
    right = hmac.compare_digest(user.encode(), policy.username.encode()) and hmac.compare_digest(
        password.encode(), policy.password.encode()
    )
    if not user or (policy.username and not right):
        session.reply("535 5.7.8 Authentication credentials invalid")
    else:
        session.user = user
        session.reply("235 2.7.0 Authentication successful")


def mail(session: Dialogue, argument: str) -> None:
    path = path_of(argument) if argument[:5].upper() == "FROM:" else None
    if not session.greeted:
        session.reply("503 5.5.1 Send EHLO first")
    elif session.policy.username and session.user is None:
        session.reply("530 5.7.0 Authentication required")
    elif session.sender is not None:
        session.reply("503 5.5.1 Nested MAIL command")
    elif path is None:
        session.reply("501 5.5.4 Syntax: MAIL FROM:<address>")
    elif path.address and not acceptable(path.address):
        session.reply(f"553 5.1.7 <{path.address}>: Bad sender address syntax")
    elif unknown := path.parameters.keys() - _MAIL_PARAMETERS:
        session.reply(f"555 5.5.4 Unsupported option: {min(unknown)}")
    elif not path.address.isascii() and not (session.policy.utf8 and "SMTPUTF8" in path.parameters):
        session.reply("553 5.6.7 Address needs SMTPUTF8")
    elif (size := path.parameters.get("SIZE", "")).isdigit() and int(size) > session.policy.mail_bytes:
        _refuse(session, path.address, "552 5.3.4 Message size exceeds fixed limit")
    elif session.exchange.faults.scripts and (fault := session.exchange.faults.of_channel("email")) is not None:
        _scripted_sender(session, path.address, fault)
    else:
        session.sender, session.utf8 = path.address, "SMTPUTF8" in path.parameters
        session.reply("250 2.1.0 Ok")


def _scripted_sender(session: Dialogue, address: str, fault: Fault) -> None:
    """Act out a fault of the whole channel: refusals at MAIL, all others after the mail."""
    if fault is Fault.UNAVAILABLE:
        _refuse(session, address, f"421 4.3.2 {HOST} Service not available, closing")
        session.flush()
        session.transport.close()
    elif fault in (Fault.GREYLISTED, Fault.TOO_MANY):
        _refuse(session, address, "451 4.3.0 Temporary server error. Please try again later")
    else:
        session.sender, session.channel_fault = address, fault
        session.reply("250 2.1.0 Ok")


def rcpt(session: Dialogue, argument: str) -> None:
    path = path_of(argument) if argument[:3].upper() == "TO:" else None
    if session.sender is None or session.chunks:
        session.reply("503 5.5.1 Need MAIL command")
    elif path is None or not path.address:
        session.reply("501 5.5.4 Syntax: RCPT TO:<address>")
    elif unknown := path.parameters.keys() - _RECIPIENT_PARAMETERS:
        session.reply(f"555 5.5.4 Unsupported option: {min(unknown)}")
    elif not acceptable(path.address) and path.address.lower() != "postmaster":
        _refuse(session, path.address, f"553 5.1.3 <{path.address}>: Bad recipient address syntax")
    elif not path.address.isascii() and not session.utf8:
        _refuse(session, path.address, f"553 5.6.7 <{path.address}>: Address needs SMTPUTF8")
    else:
        _scripted_recipient(session, path.address)


def _scripted_recipient(session: Dialogue, address: str) -> None:
    fault = session.channel_fault
    if fault is None and (scripted := of_address(address)) is not None:
        told = tag_of_return_path(session.sender or "")  # without the attempt: a retry continues the count
        fault = judge(session.exchange, "email", scripted, (told[0] if told else session.sender, address))
    if fault is Fault.UNAVAILABLE:
        _refuse(session, address, f"421 4.3.2 {HOST} Service not available, closing")
        session.flush()
        session.transport.close()
    elif fault is not None and (answer := _AT_RECIPIENT.get(fault)) is not None:
        _refuse(session, address, answer.format(address))
    else:
        session.recipients.append((address, fault))
        session.reply("250 2.1.5 Ok")


def data(session: Dialogue, argument: str) -> None:
    if argument:
        session.reply("501 5.5.4 Syntax: DATA")
    elif session.chunks or session.refused:
        session.reply("503 5.5.1 This mail comes by BDAT")
    elif session.sender is None:
        session.reply("503 5.5.1 Need MAIL command")
    elif not session.recipients:
        session.reply("554 5.5.1 No valid recipients")
    else:
        session.begin_data()
        session.reply("354 End data with <CR><LF>.<CR><LF>")


def scripted_end(session: Dialogue, arrival: Arrival, fault: Fault) -> bool:
    """Act out a fault after the mail; return True if it was answered, or deliberately not answered."""
    exchange = session.exchange
    if (answer := _AT_END.get(fault) or _AT_RECIPIENT.get(fault)) is not None:
        refuse(exchange, arrival, answer[:9])
        session.reply(answer.format(arrival.address))
        return True
    if fault in (Fault.RESET, Fault.TIMEOUT_REFUSED):
        lose(exchange, "email")
    else:
        accept(exchange, arrival, fault)
    tally = exchange.tallies["email"]
    if fault in CUTTING:
        tally.unanswered += fault is Fault.RESET_ACCEPTED
        session.transport.abort()
        return True
    if fault in HANGING:
        tally.unanswered += fault is not Fault.TIMEOUT_REFUSED
        session.flush()
        session.stuck = True
        asyncio.get_running_loop().call_later(exchange.timing.hang, session.transport.abort)
        return True
    if fault is Fault.SLOW:
        session.flush()
        session.paused = True
        asyncio.get_running_loop().call_later(exchange.timing.slow, session.resume)
    return False


def refused_mail(session: Dialogue, answer: str) -> None:
    """Refuse a whole mail after DATA."""
    refuse(session.exchange, Arrival("email", "", "", 0, b"", session.sender or ""), answer[:9])
    session.reply(answer)


def _refuse(session: Dialogue, address: str, answer: str) -> None:
    refuse(session.exchange, Arrival("email", address, "", 0, b"", session.sender or ""), answer[:9])
    session.reply(answer)


def rset(session: Dialogue, argument: str) -> None:
    session.reset()
    session.reply("250 2.0.0 Ok")


def noop(session: Dialogue, argument: str) -> None:
    session.reply("250 2.0.0 Ok")


def vrfy(session: Dialogue, argument: str) -> None:
    session.reply(
        "252 2.5.2 Cannot VRFY user, but will accept message" if argument else "501 5.5.4 Syntax: VRFY address"
    )


def leave(session: Dialogue, argument: str) -> None:
    session.reply("221 2.0.0 Bye")
    session.flush()
    session.transport.close()


COMMANDS: dict[str, Callable[[Dialogue, str], None]] = {
    "EHLO": ehlo,
    "HELO": helo,
    "STARTTLS": starttls,
    "AUTH": auth,
    "MAIL": mail,
    "RCPT": rcpt,
    "DATA": data,
    "BDAT": bdat,
    "RSET": rset,
    "NOOP": noop,
    "VRFY": vrfy,
    "QUIT": leave,
}
