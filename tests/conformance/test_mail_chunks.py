"""Mails sent by BDAT, several in one write: each has its own outcome."""

import pytest

from libs.clock import system_clock
from services.delivery.adapters.smtp import SmtpProvider
from services.delivery.domain.outcomes import Ambiguous, Deferred, Outcome, Rejected, Sent
from tests.conformance.mail_server import MailServer
from tests.conformance.mail_world import VERP_KEY, mail_to, read, send, sender_for


@pytest.fixture
def provider() -> SmtpProvider:
    return SmtpProvider(VERP_KEY, system_clock)


async def sent_to(provider: SmtpProvider, server: MailServer, *locals_: str, **changes: object) -> list[Outcome]:
    sender = sender_for(server, **({"connections": 1} | changes))
    return await send(provider, sender, [mail_to(f"{local}@example.org") for local in locals_])


def verbs(server: MailServer) -> list[str]:
    return [line.partition(" ")[0] for line in server.lines]


async def test_several_mails_are_sent_in_one_write(provider: SmtpProvider) -> None:
    """None by DATA; the first recipient of a chunk is confirmed before any text is sent."""
    async with MailServer(chunking="real") as server:
        outcomes = await sent_to(provider, server, *(f"u{n}" for n in range(40)))
    assert {type(outcome) for outcome in outcomes} == {Sent}
    assert [mail.recipient for mail in server.accepted] == [f"u{n}@example.org" for n in range(40)]
    assert "DATA" not in verbs(server)
    assert verbs(server)[:5] == ["EHLO", "RSET", "MAIL", "RCPT", "BDAT"]
    assert server.most_mails_in_one_read >= 4


async def test_a_server_without_pipelining_gets_texts_by_data(provider: SmtpProvider) -> None:
    async with MailServer(chunking="real", extensions=("8BITMIME",)) as server:
        assert [type(outcome) for outcome in await sent_to(provider, server, "a", "b")] == [Sent, Sent]
    assert "BDAT" not in verbs(server)


@pytest.mark.parametrize("chunking", ["real", "lenient"])
async def test_a_refused_recipients_text_reaches_nobody(provider: SmtpProvider, chunking: str) -> None:
    """Its BDAT was already sent: the reply to it, even a positive one, is no mail's outcome, and the following mails
    keep their own return paths."""
    locals_ = ["dead", "a", "greylisted", "b", "full", "dead-plain", "c", "spam", "d", "later", "e"]
    async with MailServer(chunking=chunking) as server:
        outcomes = await sent_to(provider, server, *locals_)
    kinds = [Rejected, Sent, Deferred, Sent, Deferred, Rejected, Sent, Rejected, Sent, Deferred, Sent]
    assert [type(outcome) for outcome in outcomes] == kinds
    assert server.connections == 1
    paths = {mail.recipient: mail.sender for mail in server.accepted}
    assert list(paths) == [f"{local}@example.org" for local in "abcde"]
    assert len(set(paths.values())) == len(paths)


async def test_a_server_that_rejects_its_advertised_bdat_gets_data(provider: SmtpProvider) -> None:
    """The mail that revealed it is sent again, since nothing of it was accepted; no other mail has to find out."""
    async with MailServer(chunking="only-said") as server:
        first = await sent_to(provider, server, "a", "b", "c")
        second = await sent_to(provider, server, "d")
    assert {type(outcome) for outcome in first + second} == {Sent}
    assert sorted(mail.recipient[0] for mail in server.accepted) == ["a", "b", "c", "d"]
    assert verbs(server).count("BDAT") == 1
    assert verbs(server).count("DATA") == 4
    assert server.connections == 2


async def test_unanswered_mails_are_unknown_once_and_data_is_used_afterwards(provider: SmtpProvider) -> None:
    """A server that hangs up without a word after some mails: those behind are unknown, once."""
    async with MailServer(chunking="real") as server:
        first = await sent_to(provider, server, "a", "b", "last", "c", "d")
        second = await sent_to(provider, server, "e", "last", "f", "last", "g")
    assert [type(outcome) for outcome in first] == [Sent, Sent, Sent, Ambiguous, Ambiguous]
    assert [type(outcome) for outcome in second] == [Sent] * 5


async def test_mails_after_a_421_are_not_unknown(provider: SmtpProvider) -> None:
    """421 closes the connection (RFC 5321 §3.8): the mails behind it were not accepted, and go out on another one."""
    async with MailServer(chunking="real", mails_per_connection=3) as server:
        outcomes = await sent_to(provider, server, *(f"u{n}" for n in range(10)))
    assert {type(outcome) for outcome in outcomes} == {Sent}
    assert len({mail.recipient for mail in server.accepted}) == len(server.accepted) == 10
    assert "DATA" not in verbs(server)


async def test_a_slow_server_gets_one_mail_at_a_time(provider: SmtpProvider) -> None:
    """A batch would have to be answered within the timeout of one mail."""
    async with MailServer(chunking="real", pause=0.55) as server:
        outcomes = await sent_to(provider, server, "a", "b", "c", timeout_seconds=0.9)
    assert {type(outcome) for outcome in outcomes} == {Sent}
    assert server.most_mails_in_one_read == 1


async def test_a_connection_is_replaced_after_its_maximum_of_mails(provider: SmtpProvider) -> None:
    async with MailServer(chunking="real") as server:
        outcomes = await sent_to(provider, server, *(f"u{n}" for n in range(10)), mails_per_connection=5)
    assert {type(outcome) for outcome in outcomes} == {Sent}
    assert server.connections == 2


async def test_bdat_texts_are_not_dot_stuffed(provider: SmtpProvider) -> None:
    """BDAT counts octets: a dot at the beginning of a line is a dot."""
    async with MailServer(chunking="real") as server:
        await sent_to(provider, server, "a")
    text = server.accepted[0].text
    assert b"\r\n..zwei" in text
    assert b"\r\n...zwei" not in text
    assert not read(text).defects
