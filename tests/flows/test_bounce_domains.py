"""A domain reported to have no mail is looked up: over a real DNS dialogue, with the consequences for its addresses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from libs.contracts.delivery import MessageRejected, Rejection
from libs.contracts.outcomes import Mode
from services.bounce.adapters.resolver import DnsDomains
from services.bounce.domain.domains import Answer, Domain, DomainState, after, ask_again_at
from services.bounce.loops import domains
from tests.flows.bounce_policy import HOUR, barred, careful, said
from tests.flows.bounces import NOW, World, world
from tests.waiting import eventually

__all__ = ["world"]

_PATIENT = 120.0  # seconds
ZONE = {
    ("mail.example.", "MX"): ["10 mx.mail.example."],
    ("null.example.", "MX"): ["0 ."],
    ("web.example.", "A"): ["192.0.2.1"],
    ("six.example.", "AAAA"): ["2001:db8::1"],
    ("empty.example.", "TXT"): ['"nothing else"'],
}


class Names(asyncio.DatagramProtocol):
    """A name server: names outside its zone do not exist; `broken.example` fails, `silent.example` does not answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, peer: Any) -> None:
        query = dns.message.from_wire(data)
        name, kind = str(query.question[0].name), dns.rdatatype.to_text(query.question[0].rdtype)
        self.asked.append(f"{name} {kind}")
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if name.startswith("silent"):
            return
        if name.startswith("broken"):
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif (name, kind) in ZONE:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *ZONE[name, kind]))
        elif name not in {known for known, _ in ZONE}:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), peer)


@asynccontextmanager
async def name_server() -> AsyncIterator[tuple[Names, str]]:
    transport, names = await asyncio.get_running_loop().create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    try:
        yield names, f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


@pytest.mark.parametrize(
    ("domain", "takes_mail"),
    [
        ("mail.example", True),
        ("web.example", True),
        ("six.example", True),
        ("null.example", False),
        ("empty.example", False),
        ("gone.example", False),
        ("broken.example", None),
        ("silent.example", None),
        ("not a..domain", None),
        ("x" * 70 + ".example", None),
    ],
)
async def test_what_the_dns_says_of_a_domain(domain: str, takes_mail: bool | None) -> None:
    async with name_server() as (_, server):
        # only what never answers is given up soon: the others may take as long as a busy machine needs
        answer = await DnsDomains([server], 0.3 if domain == "silent.example" else _PATIENT).ask(domain)
    assert answer.takes_mail is takes_mail, answer
    assert answer.words


async def test_a_server_that_is_not_there_says_nothing() -> None:
    answer = await DnsDomains(["127.0.0.1:9"], 0.3).ask("mail.example")
    assert answer.takes_mail is None
    assert answer.words in ("no answer: TimeoutError", "no answer: LifetimeTimeout")  # whichever notices our limit


def test_no_answer_is_asked_again_soon_and_a_long_dead_domain_rarely() -> None:
    day, fresh = timedelta(days=1), Domain("x.example", DomainState.ASKED, NOW, 0)
    silent = after(fresh, Answer(None, "?"), NOW)
    assert (silent.state, silent.tries) == (DomainState.ASKED, 1)
    assert ask_again_at(silent, NOW, day) == NOW + timedelta(minutes=5)
    assert ask_again_at(after(silent, Answer(None, "?"), NOW), NOW, day) == NOW + timedelta(minutes=10)
    dead = after(silent, Answer(False, "gone"), NOW)
    assert (dead.state, dead.since, dead.tries) == (DomainState.DEAD, NOW, 0)
    assert ask_again_at(dead, NOW, day) == NOW + day
    later = NOW + 40 * day
    assert ask_again_at(after(dead, Answer(False, "gone"), later), later, day) == later + 10 * day
    assert ask_again_at(after(dead, Answer(True, "back"), later), later, day) is None


async def refused(world: World, name: str, domain: str, *, mode: Mode = Mode.LIVE) -> None:
    rejection = Rejection(
        message=f"{uuid4()}.1", recipient=f"customer:{name}", attempt=1, channel="email", sender=1, address_id=1,
        address_hash=name.encode().ljust(32, b"."), final=True, text="550 5.1.2 Bad destination domain", at=NOW,
        reply_code=550, enhanced_code="5.1.2", domain=domain,
    )  # fmt: skip
    event = MessageRejected(request_id=uuid4(), rejections=(rejection,))
    await world.hear(event, mode=mode)


@asynccontextmanager
async def asking(world: World) -> AsyncIterator[Names]:
    """Run bounce's loop with our own name server."""
    async with name_server() as (names, server):
        object.__setattr__(world.service.deps, "dns", DnsDomains([server], _PATIENT))
        stop = asyncio.Event()
        task = asyncio.create_task(domains(world.service.deps, stop))
        try:
            yield names
        finally:
            stop.set()
            await task


async def decisions(world: World) -> dict[str, tuple[str, str]]:
    items = (await world.get("/v1/bounces"))["items"]
    return {item["recipient"]: (item["decision"], item["policy"]) for item in items}


async def test_only_addresses_of_a_domain_without_mail_are_barred_and_let_go_when_it_is_back(world: World) -> None:
    await refused(world, "ann", "gone.example")
    await refused(world, "bob", "mail.example")
    await refused(world, "cid", "broken.example")
    asks = ("asks", "domain-check")
    assert await decisions(world) == {f"customer:{n}": asks for n in ("ann", "bob", "cid")}
    assert await world.suppressions() == []
    async with asking(world) as names:
        dead, alive = ("bars", "domain-check"), ("leaves", "domain-alive")
        wanted = {"customer:ann": dead, "customer:bob": alive, "customer:cid": asks}

        async def decided() -> bool:
            return await decisions(world) == wanted

        await eventually(decided)
        (placed,) = await world.suppressions()
        assert (placed.scope, placed.note) == ("all", "the domain does not exist")
        asked = len(names.asked)
        await asyncio.sleep(0.3)
        assert len(names.asked) == asked  # the answer is cached

        ZONE["gone.example.", "MX"] = ["10 mx.mail.example."]
        try:
            world.clock.advance(timedelta(days=1, minutes=1))

            async def lifted_too() -> bool:
                return len(await world.suppressions()) == 2

            await eventually(lifted_too)
        finally:
            del ZONE["gone.example.", "MX"]
    lifted = (await world.suppressions())[-1]
    assert (lifted.active, lifted.version, lifted.note) == (False, 2, "the domain has a mail server")
    world.clock.advance(timedelta(hours=1))
    totals = (await world.get("/v1/statistics"))["totals"]
    assert (totals["facts"], totals["suppressed"], totals["lifted"]) == (3, 1, 1)


async def test_a_bar_with_a_refused_domain_as_its_second_proof_ends_when_the_domain_turns_out_alive(
    world: World,
) -> None:
    """The DNS did not answer for a day; meanwhile one refusal of the mailbox had come, which alone bars nobody."""
    careful(world)
    await refused(world, "bob", "mail.example")
    gone = {"text": "550 5.1.1 no such user here", "domain": "mail.example"}
    await said(world, ["bob"], **gone, at=NOW + 25 * HOUR)
    assert await barred(world) == ["bob"]
    world.clock.advance(26 * HOUR)
    async with asking(world):

        async def nobody_is_barred() -> bool:
            return await barred(world) == []

        await eventually(nobody_is_barred)
    (ended,) = (await world.get("/v1/suppressions", active=False))["items"]
    assert ended["note"] == "the domain has a mail server, so the refusal proves nothing"
    await said(world, ["bob"], **gone, at=NOW + 50 * HOUR)
    assert await barred(world) == ["bob"]  # two refusals of the mailbox, a day apart


async def test_nobody_asks_for_domains_of_test_traffic(world: World) -> None:
    await refused(world, "ann", "gone.example", mode=Mode.TEST)
    async with asking(world) as names:
        await asyncio.sleep(0.2)
        assert names.asked == []
    (item,) = (await world.get("/v1/bounces", key="test"))["items"]
    assert (item["decision"], item["policy"]) == ("waits", "second-proof")
