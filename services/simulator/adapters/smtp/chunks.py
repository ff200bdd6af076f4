"""Mails in chunks (RFC 3030): BDAT says how many octets follow it, and whether they are the last."""

import re

from services.simulator.adapters.smtp.dialogue import Chunk, Dialogue
from services.simulator.domain.arrivals import Arrival
from services.simulator.handlers import refuse

_SIZE = re.compile(r"(\d{1,12})(?: +(LAST))?", re.IGNORECASE)
TOO_BIG = "552 5.3.4 Message too big"


def bdat(session: Dialogue, argument: str) -> None:
    """Read the octets that follow, even to refuse them; if the size cannot be parsed, their end is unknown."""
    size = _SIZE.fullmatch(argument)
    if not session.policy.chunking:
        session.reply("502 5.5.1 BDAT not available")
    elif size is None:
        session.reply("501 5.5.4 Syntax: BDAT octets [LAST]")
    else:
        octets = int(size[1])
        session.chunk = Chunk(octets, size[2] is not None, _refusal(session, octets))


def _refusal(session: Dialogue, octets: int) -> str:
    if session.sender is None:
        return "503 5.5.1 Need MAIL command"
    if not session.recipients:
        return "554 5.5.1 No valid recipients"
    if session.refused:
        return "503 5.5.1 A chunk before was refused, RSET first"
    if sum(map(len, session.chunks)) + octets > session.policy.mail_bytes:
        return TOO_BIG
    return ""


def received(session: Dialogue) -> bytes | None:
    """Return the mail once its last chunk is complete; the other chunks are answered here."""
    chunk = session.chunk
    assert chunk is not None, "no chunk was announced"
    octets, session.buffer = session.buffer[: chunk.octets], session.buffer[chunk.octets :]
    if chunk.refusal:
        chunk.octets -= len(octets)
        if not chunk.octets:
            _refuse(session, chunk)
    elif len(octets) < chunk.octets:
        session.buffer = octets
    else:
        session.chunk = None
        session.chunks.append(octets)
        if chunk.is_last:
            return b"".join(session.chunks)
        session.reply(f"250 2.0.0 {chunk.octets} octets received")
    return None


def _refuse(session: Dialogue, chunk: Chunk) -> None:
    session.chunk, session.refused = None, session.sender is not None
    if chunk.refusal == TOO_BIG:
        refuse(session.exchange, Arrival("email", "", "", 0, b"", session.sender or ""), TOO_BIG[:9])
    session.reply(chunk.refusal)
