"""Mails of 4.9 kB with personal text: delivery's whole sender path with render and ledger, compared with aiosmtplib and
a bare dialogue on asyncio streams.

All of them send to the same sink, the simulator's SMTP server, in the same run; Depesche also to one without
CHUNKING, where each text goes by DATA, as with the other two. Figures are CPU-µs per message for worker, Postgres and
sink separately; own = worker + Postgres. Last line: JSON.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import uvloop

from bench.push import parser, report, verdict
from bench.sender_path import FIRST_NAMES, TENANT, Job, ledger, measure_sender
from bench.sinks import Measured, Sink, measure, sink
from bench.sinks_clients import bare_mails, mail_texts
from libs.clock import system_clock
from libs.contracts.outcomes import Channel, Mode
from libs.ids import message_id, notification_id, uuid7
from libs.rendering import compile_template
from libs.service import calm_garbage_collection
from services.delivery.adapters.smtp import SmtpProvider
from services.delivery.adapters.smtp_reference import SmtpReference
from services.delivery.domain.outbound import Outbound, Sender, SmtpAccount
from services.delivery.domain.outcomes import Outcome, Sent

_LINE = "<p>Lorem ipsum dolor sit amet, consetetur sadipscing elitr, sed diam nonumy eirmod.</p>\n"
_HELLO = "<h1>Dear {{ recipient.first_name }} {{ recipient.last_name }}</h1>\n"
# with its text part and headers, about 4.9 kB on the wire
PERSONAL = {
    "subject": "{{ event.data.product }} is cheaper, {{ recipient.first_name }}",
    "html": _HELLO + "<p>It is yours for {{ event.data.price }} EUR today.</p>\n" + _LINE * 24,
}
GOALS = {"personal": (10_000, 113.0)}


def outbounds(count: int) -> list[Outbound]:
    """Return mails as providers get them."""
    template = compile_template("email", "en", PERSONAL)
    event = {"id": "1", "type": "price.dropped", "data": {"product": "Trail Shoe", "price": "79.90"}}
    cause, made = uuid7(), []
    for n in range(count):
        recipient = {"first_name": FIRST_NAMES[n % len(FIRST_NAMES)], "last_name": f"Customer{n}"}
        content = template.render({"event": event, "recipient": recipient, "links": {}})
        about = notification_id(cause, "bench", f"customer:{n}")
        made.append(Outbound(message_id(about, n), about, n, 1, "email", f"customer{n}@example.com", content))
    return made


async def through_provider(
    provider: Any, target: Sink, messages: Sequence[Outbound], seconds: float, *, side_by_side: int = 1
) -> None:
    """Send all mails through a provider of delivery's port, 500 at a time; `side_by_side` for a sequential provider."""
    ends = target.endpoints
    account = SmtpAccount(ends.smtp_host, ends.smtp_port, "shop@example.com", return_path_domain="b.example", tls="off")
    sender = Sender(1, TENANT, Mode.LIVE, Channel.EMAIL, 1, account)
    failed: list[Outcome] = []

    def settle(index: int, outcome: Outcome) -> None:
        if not isinstance(outcome, Sent):
            failed.append(outcome)

    for start in range(0, len(messages), 500):
        chunk = messages[start : start + 500]
        deadline = time.monotonic() + seconds
        parts = [chunk[n::side_by_side] for n in range(side_by_side)]
        await asyncio.gather(*(provider.send(sender, part, deadline, settle) for part in parts))
    await provider.close()
    if failed:
        print(f"{type(provider).__name__}: {len(failed)} not sent, first {failed[0]}")


async def run(options: Any) -> list[Measured]:
    async with sink() as target, sink(smtp_chunking="false") as plain:
        async with ledger() as store:  # first, so that the measured memory is the sender's own
            await measure_sender("warm", Job("email", PERSONAL, min(1_000, options.messages)), target, store, 30.0)
            job = Job("email", PERSONAL, options.messages)
            whole = await measure_sender("depesche, personal text", job, target, store, options.seconds)
            by_data = await measure_sender("depesche, without CHUNKING", job, plain, store, options.seconds)
        rows = [*await baselines(target, options), by_data, whole]
    early, most = whole.rss_mb
    print(f"memory of the worker: {early:.0f} MB in the first quarter, {most:.0f} MB at most")
    return rows


async def baselines(target: Sink, options: Any) -> list[Measured]:
    """Measure the bare dialogue, aiosmtplib, and delivery's provider without ledger and render."""
    key = b"k" * 32
    mails, messages = mail_texts(options.messages), outbounds(options.messages)
    few = outbounds(options.reference_messages)
    return [
        await measure("bare dialogue", "email", target, len(mails), lambda: bare_mails(target.endpoints, mails)),
        await measure(
            "aiosmtplib",
            "email",
            target,
            len(few),
            lambda: through_provider(SmtpReference(key, system_clock), target, few, options.seconds, side_by_side=8),
        ),
        await measure(
            "delivery's provider alone",
            "email",
            target,
            len(messages),
            lambda: through_provider(SmtpProvider(key, system_clock), target, messages, options.seconds),
        ),
    ]


def main() -> None:
    options = parser("python -m bench.email", __doc__, 40_000, 3_000).parse_args()
    calm_garbage_collection()  # as in every process of the suite
    rows = uvloop.run(run(options))
    report("email", rows, verdict(rows, GOALS, "aiosmtplib"))


if __name__ == "__main__":
    main()
