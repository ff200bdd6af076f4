"""Senders, mails and a send helper shared by the tests of mail providers."""

import email
import email.policy
import time
from email.message import EmailMessage
from uuid import uuid4

from libs.contracts.outcomes import Channel, Mode
from libs.rendering.contents import EmailContent
from services.delivery.domain.outbound import Outbound, Sender, SmtpAccount
from services.delivery.domain.outcomes import Outcome
from services.delivery.ports import Provider
from tests.conformance.mail_server import MailServer

VERP_KEY = b"v" * 32
CONTENT = EmailContent("Ihre Bestellung – unterwegs", "<p>Grüße</p>\n.\n<p>.Punkt</p>", "Grüße\n.\n..zwei")


def sender_for(server: MailServer, **changes: object) -> Sender:
    fields: dict[str, object] = {
        "host": "127.0.0.1",
        "port": server.port,
        "from_address": "shop@example.com",
        "from_name": "Der Laden",
        "return_path_domain": "bounce.example.com",
        "tls": "off",
        "connections": 2,
        "reply_timeout_seconds": 30.0,
        "timeout_seconds": 30.0,
    }
    return Sender(7, 1, Mode.LIVE, Channel.EMAIL, 1, SmtpAccount(**(fields | changes)))  # type: ignore[arg-type]


def mail_to(address: str, content: EmailContent = CONTENT, **changes: object) -> Outbound:
    notification = uuid4()
    fields: dict[str, object] = {"kind": "email", "address": address, "content": content}
    return Outbound(f"{notification}.5", notification, 5, 1, **(fields | changes))  # type: ignore[arg-type]


async def send(provider: Provider, sender: Sender, mails: list[Outbound], seconds: float = 100.0) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}

    def settle(index: int, outcome: Outcome) -> None:
        assert index not in outcomes, "settled twice"
        outcomes[index] = outcome

    await provider.send(sender, mails, time.monotonic() + seconds, settle)
    assert len(outcomes) == len(mails), "a mail was not settled"
    return [outcomes[index] for index in range(len(mails))]


def read(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message
