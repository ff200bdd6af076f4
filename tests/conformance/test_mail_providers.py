"""Mail providers: our own dialogue and the reference adapter keep the same promises against odd servers."""

import ssl
from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest
import trustme

from libs.clock import system_clock
from libs.contracts.outcomes import Channel, Mode
from libs.contracts.reasons import Reason
from libs.rendering.contents import EmailContent
from libs.verp import ReturnPath, Verp
from services.delivery.adapters.smtp import SmtpProvider
from services.delivery.adapters.smtp_reference import SmtpReference
from services.delivery.domain.outbound import Sender
from services.delivery.domain.outcomes import NOT_CALLED, Ambiguous, Deferred, Rejected, Sent
from services.delivery.ports import Provider
from tests.conformance.mail_server import MailServer
from tests.conformance.mail_world import CONTENT, VERP_KEY, mail_to, read, send, sender_for

MakeServer = Callable[..., MailServer]


@pytest.fixture(params=["by chunks", "by data", "reference"])
def way(request: pytest.FixtureRequest) -> str:
    """How mails are sent: our own dialogue's two ways, and the reference's."""
    return str(request.param)


@pytest.fixture
def provider(way: str) -> Provider:
    made: Callable[..., Provider] = SmtpReference if way == "reference" else SmtpProvider
    return made(VERP_KEY, system_clock)


@pytest.fixture
def mail_server(way: str) -> MakeServer:
    return partial(MailServer, chunking="real" if way == "by chunks" else "")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


async def test_a_mail_arrives_unchanged(provider: Provider, mail_server: MakeServer) -> None:
    """Text, HTML, lone dots and umlauts survive; the server's queue id is returned."""
    async with mail_server() as server:
        [outcome] = await send(provider, sender_for(server), [mail_to("max@example.org", recipient_name="Müller, Max")])
    assert isinstance(outcome, Sent)
    assert outcome.provider_ref is not None
    assert "queued as 000001" in outcome.provider_ref
    message = read(server.accepted[0].text)
    assert message["Subject"] == CONTENT.subject
    assert message["To"].addresses[0].display_name == "Müller, Max"
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert plain.get_content().replace("\r\n", "\n") == CONTENT.text
    assert html is not None
    assert html.get_content().replace("\r\n", "\n") == CONTENT.html
    assert message["List-Unsubscribe"] is None


async def test_the_return_path_names_message_and_attempt(provider: Provider, mail_server: MakeServer) -> None:
    """A bounce can be traced to the attempt, and nobody else can forge such a path."""
    mail = mail_to("max@example.org")
    async with mail_server() as server:
        await send(provider, sender_for(server), [mail])
    path = server.accepted[0].sender
    assert ReturnPath(VERP_KEY, "").read(path) == Verp(UUID(str(mail.notification_id)), 5, 1)
    assert ReturnPath(b"x" * 32, "").read(path) is None


async def test_marketing_mail_offers_one_click_unsubscribe(provider: Provider, mail_server: MakeServer) -> None:
    """RFC 8058: both fields, the second with exactly this value."""
    async with mail_server() as server:
        link = "https://shop.example/tokens/v1/unsubscribe/abc"
        await send(provider, sender_for(server), [mail_to("max@example.org", unsubscribe_url=link)])
    raw = server.accepted[0].text
    assert b"\r\nList-Unsubscribe: <https://shop.example/tokens/v1/unsubscribe/abc>\r\n" in raw
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in raw


@pytest.mark.parametrize(
    ("local", "kind", "code", "reason"),
    [
        ("dead", Rejected, 550, Reason.MAILBOX_UNAVAILABLE),
        ("dead-plain", Rejected, 550, Reason.MAILBOX_UNAVAILABLE),
        ("policy", Rejected, 554, Reason.PROVIDER_REJECTED),
        ("spam", Rejected, 554, Reason.PROVIDER_REJECTED),
        ("greylisted", Deferred, 451, Reason.THROTTLED),
        ("full", Deferred, 452, Reason.THROTTLED),
        ("later", Deferred, 451, Reason.THROTTLED),
        ("busy", Deferred, 421, Reason.PROVIDER_UNAVAILABLE),
        ("vanishes", Deferred, None, Reason.PROVIDER_UNAVAILABLE),
        ("silent", Deferred, None, Reason.PROVIDER_UNAVAILABLE),
        ("accepted-then-gone", Ambiguous, None, Reason.CONNECTION_LOST),
        ("accepted-then-silent", Ambiguous, None, Reason.TIMED_OUT),
    ],
)
async def test_each_reply_maps_to_its_outcome(
    provider: Provider, mail_server: MakeServer, local: str, kind: type, code: int | None, reason: Reason
) -> None:
    """4xx is retried, 5xx is final with its text; only after the final dot can the outcome be unknown."""
    async with mail_server() as server:
        sender = sender_for(server, reply_timeout_seconds=0.3, timeout_seconds=0.3)
        [outcome] = await send(provider, sender, [mail_to(f"{local}@example.org")])
    assert type(outcome) is kind
    assert not isinstance(outcome, Sent)
    assert outcome.reason is reason
    assert outcome.text
    if isinstance(outcome, Rejected | Deferred):
        assert outcome.code == code


async def test_a_refusal_does_not_affect_other_mails(provider: Provider, mail_server: MakeServer) -> None:
    """Refused and greylisted mails between good ones: each good one arrives exactly once."""
    locals_ = ["a", "dead", "b", "greylisted", "c", "spam", "full", "d", "later", "e", "policy", "f"]
    async with mail_server() as server:
        outcomes = await send(provider, sender_for(server), [mail_to(f"{x}@example.org") for x in locals_])
    sent = sorted(x for x, outcome in zip(locals_, outcomes, strict=True) if isinstance(outcome, Sent))
    assert sent == ["a", "b", "c", "d", "e", "f"]
    assert sorted(mail.recipient.partition("@")[0] for mail in server.accepted) == sent


@pytest.mark.parametrize("evil", ["vanishes", "busy", "silent", "accepted-then-gone", "accepted-then-silent", "last"])
async def test_a_connection_broken_midway_reports_true_outcomes(
    provider: Provider, mail_server: MakeServer, evil: str
) -> None:
    """A mail reported sent has arrived, one reported unsent has not, and nothing arrives twice."""
    locals_ = ["a", "b", "dead", "c", evil, "d", "e", "f", "g", "h"]
    async with mail_server() as server:
        sender = sender_for(server, reply_timeout_seconds=0.3, timeout_seconds=0.3, connections=1)
        outcomes = await send(provider, sender, [mail_to(f"{x}@example.org") for x in locals_])
    arrived = [mail.recipient.partition("@")[0] for mail in server.accepted]
    assert len(arrived) == len(set(arrived))
    for local, outcome in zip(locals_, outcomes, strict=True):
        assert isinstance(outcome, Ambiguous) or isinstance(outcome, Sent) == (local in arrived), local


@pytest.mark.parametrize(
    "oddity",
    [
        {"extensions": ()},
        {"extensions": ("8BITMIME",)},
        {"extensions": ("PIPELINING", "LENIENT-DATA", "8BITMIME")},
        {"takes_ehlo": False},
        {"greeting": ("220-mail.test", "220-no spam", "220 please")},
        {"chunk": 3},
        {"mails_per_connection": 2},
        {"mails_per_connection": 1},
    ],
    ids=str,
)
async def test_odd_servers_get_their_mail(
    provider: Provider, mail_server: MakeServer, oddity: dict[str, object]
) -> None:
    """Without PIPELINING or EHLO, with long greetings, slow replies or few mails per connection."""
    locals_ = ["a", "b", "dead", "c", "d", "e"]
    async with mail_server(**oddity) as server:  # type: ignore[arg-type]
        outcomes = await send(provider, sender_for(server), [mail_to(f"{x}@example.org") for x in locals_])
    assert [type(outcome) for outcome in outcomes] == [Sent, Sent, Rejected, Sent, Sent, Sent]
    assert sorted(mail.recipient[0] for mail in server.accepted) == ["a", "b", "c", "d", "e"]
    html = read(server.accepted[0].text).get_body(("html",))
    assert html is not None
    assert "Grüße" in html.get_content()
    if "8BITMIME" not in server.extensions or not server.takes_ehlo:
        assert all(mail.text.isascii() for mail in server.accepted)


async def test_a_refused_connection_counts_as_not_sent(provider: Provider, mail_server: MakeServer) -> None:
    """No byte was sent."""
    async with mail_server() as server:
        sender = sender_for(server)
    outcomes = await send(provider, sender, [mail_to("a@example.org"), mail_to("b@example.org")])
    assert all(isinstance(o, Deferred) and o.reason is Reason.PROVIDER_UNAVAILABLE for o in outcomes)


async def test_a_refusing_greeting_counts_as_not_sent(provider: Provider, mail_server: MakeServer) -> None:
    async with mail_server(greeting=("554 5.7.1 not you",)) as server:
        [outcome] = await send(provider, sender_for(server), [mail_to("a@example.org")])
    assert isinstance(outcome, Deferred)
    assert outcome.sender_fault


async def test_nothing_is_sent_after_the_deadline(provider: Provider, mail_server: MakeServer) -> None:
    """Mails for which the lease has no time are returned untouched."""
    async with mail_server() as server:
        outcomes = await send(provider, sender_for(server), [mail_to("a@example.org")] * 3, seconds=-1)
    assert outcomes == [NOT_CALLED] * 3
    assert server.accepted == []


async def test_starttls_encrypts(
    provider: Provider, mail_server: MakeServer, server_tls: ssl.SSLContext, ca_file: str
) -> None:
    async with mail_server(context=server_tls) as server:
        sender = sender_for(server, tls="required", ca_file=ca_file)
        [outcome] = await send(provider, sender, [mail_to("a@example.org")])
    assert isinstance(outcome, Sent)
    assert server.encrypted == 1


async def test_implicit_tls_encrypts(
    provider: Provider, mail_server: MakeServer, server_tls: ssl.SSLContext, ca_file: str
) -> None:
    async with mail_server(context=server_tls, implicit=True) as server:
        sender = sender_for(server, tls="implicit", ca_file=ca_file)
        [outcome] = await send(provider, sender, [mail_to("a@example.org")])
    assert isinstance(outcome, Sent)


async def test_required_tls_never_falls_back(
    provider: Provider, mail_server: MakeServer, server_tls: ssl.SSLContext
) -> None:
    """No STARTTLS, or somebody else's certificate: no mail leaves in the clear."""
    async with mail_server() as plain, mail_server(context=server_tls) as foreign:
        for server in (plain, foreign):
            [outcome] = await send(provider, sender_for(server, tls="required"), [mail_to("a@example.org")])
            assert isinstance(outcome, Deferred)
            assert server.accepted == []
            assert not any(line.startswith("MAIL") for line in server.lines)


@pytest.mark.parametrize("mechanism", ["AUTH PLAIN LOGIN", "AUTH LOGIN"])
async def test_authentication(
    provider: Provider, mail_server: MakeServer, server_tls: ssl.SSLContext, ca_file: str, mechanism: str
) -> None:
    """The right password sends; a wrong one is our own fault and says nothing about the mail."""
    async with mail_server(
        context=server_tls, extensions=(mechanism, "PIPELINING"), users={"shop": "geheim"}
    ) as server:
        for password, kind in (("geheim", Sent), ("falsch", Deferred)):
            sender = sender_for(server, tls="required", ca_file=ca_file, username="shop", password=password)
            changed = Sender(7, 1, Mode.LIVE, Channel.EMAIL, len(password) + (kind is Sent), sender.account)
            [outcome] = await send(provider, changed, [mail_to("a@example.org")])
            assert type(outcome) is kind
            assert not isinstance(outcome, Deferred) or outcome.sender_fault


@pytest.mark.parametrize(
    ("address", "content"),
    [
        ("a@example.org>\r\nRCPT TO:<b@example.org", CONTENT),
        ("a@example.org", EmailContent("Hallo\r\nBcc: b@example.org", "<p>x</p>", "x")),
        ("a@example.org", EmailContent("Hallo", "<p>x</p>", "x", reply_to="x@y.de>\r\nBcc: <b@example.org")),
    ],
)
async def test_header_and_command_injection_is_refused(
    provider: Provider, mail_server: MakeServer, address: str, content: EmailContent
) -> None:
    """Line breaks in addresses and header values are refused before anything is sent to the server."""
    async with mail_server() as server:
        [outcome] = await send(provider, sender_for(server), [mail_to(address, content)])
    assert isinstance(outcome, Rejected)
    assert outcome.reason in (Reason.ADDRESS_INVALID, Reason.PAYLOAD_INVALID)
    assert server.accepted == []
    assert not any("b@example.org" in line for line in server.lines)


async def test_unicode_addresses_need_smtputf8(provider: Provider, mail_server: MakeServer) -> None:
    """With SMTPUTF8 they are mailed, without it refused; a Unicode domain always works."""
    mails = [mail_to("pelé@exämple.org"), mail_to("pele@exämple.org")]
    async with mail_server() as able, mail_server(extensions=("PIPELINING",)) as unable:
        with_it = await send(provider, sender_for(able), mails)
        without = await send(provider, Sender(8, 1, Mode.LIVE, Channel.EMAIL, 1, sender_for(unable).account), mails)
    assert [type(o) for o in with_it] == [Sent, Sent]
    assert [type(o) for o in without] == [Rejected, Sent]
    assert unable.accepted[0].recipient == "pele@xn--exmple-cua.org"
    assert any(line.endswith("SMTPUTF8") for line in able.lines)


async def test_a_mail_over_the_servers_size_limit_is_not_offered(provider: Provider, mail_server: MakeServer) -> None:
    async with mail_server(extensions=("PIPELINING", "SIZE 500")) as server:
        [outcome] = await send(provider, sender_for(server), [mail_to("a@example.org")])
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.TOO_LARGE
    assert not any(line.startswith("MAIL") for line in server.lines)
