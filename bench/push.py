"""Pushes: delivery's whole sender path with render and ledger, compared with firebase-admin and a bare pyreqwest loop.

All of them send to the same sink, the simulator's FCM over TLS and HTTP/2, in the same run. Figures are CPU-µs per
message for worker, Postgres and sink separately; own = worker + Postgres. Last line: JSON.
"""

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import uvloop

from bench.sender_path import FIRST_NAMES, TENANT, Job, ledger, measure_sender
from bench.sinks import HEADER, Measured, Sink, measure, sink
from bench.sinks_clients import bare_pushes
from libs.clock import system_clock
from libs.contracts.outcomes import Channel, Mode
from libs.ids import message_id, notification_id, uuid7
from libs.rendering.contents import PushContent
from libs.service import calm_garbage_collection
from services.delivery.adapters.fcm import FcmProvider
from services.delivery.adapters.fcm.encoding import PushEncoder
from services.delivery.adapters.fcm_reference import FcmReference
from services.delivery.domain.outbound import FcmAccount, Outbound, Sender
from services.delivery.domain.outcomes import Outcome, Sent

PERSONAL = {
    "title": "{{ event.data.product }} is cheaper, {{ recipient.first_name }}",
    "body": "Dear {{ recipient.first_name }} {{ recipient.last_name }}, "
    "it is yours for {{ event.data.price }} EUR today.",
}
SHARED = {
    "title": "{{ event.data.product }} is cheaper",
    "body": "Hello {{ recipient.first_name }}, it is yours for {{ event.data.price }} EUR today.",
}
GOALS = {"personal": (10_000, 100.0), "shared": (14_000, 75.0)}


def outbounds(count: int) -> list[Outbound]:
    """Return the messages of the personal job as providers get them."""
    cause, made = uuid7(), []
    for n in range(count):
        name = FIRST_NAMES[n % len(FIRST_NAMES)]
        content = PushContent(
            f"Trail Shoe is cheaper, {name}", f"Dear {name} Customer{n}, it is yours for 79.90 EUR today."
        )
        about = notification_id(cause, "bench", f"customer:{n}")
        made.append(Outbound(message_id(about, n), about, n, 1, "fcm_token", f"token-{n:060d}", content))
    return made


async def through_provider(provider: Any, target: Sink, messages: Sequence[Outbound], seconds: float) -> None:
    """Send all messages through a provider of delivery's port, 500 at a time like a chunk."""
    account = FcmAccount("bench", static_token="bench", url=target.endpoints.fcm_url, ca_file=target.endpoints.fcm_ca)
    sender = Sender(1, TENANT, Mode.LIVE, Channel.PUSH, 1, account)
    failed: list[Outcome] = []

    def settle(index: int, outcome: Outcome) -> None:
        if not isinstance(outcome, Sent):
            failed.append(outcome)

    for start in range(0, len(messages), 500):
        await provider.send(sender, messages[start : start + 500], time.monotonic() + seconds, settle)
    await provider.close()
    if failed:
        print(f"{type(provider).__name__}: {len(failed)} not sent, first {failed[0]}")


async def baselines(target: Sink, options: argparse.Namespace) -> list[Measured]:
    """Measure the bare loop, firebase-admin, and delivery's provider without ledger and render."""
    messages = outbounds(options.messages)
    encoder = PushEncoder(time.time)
    bodies = [encoder.encode(m, m.content) for m in messages if isinstance(m.content, PushContent)]
    few = outbounds(options.reference_messages)
    return [
        await measure(
            "bare pyreqwest loop", "push", target, len(bodies), lambda: bare_pushes(target.endpoints, bodies)
        ),
        await measure(
            "firebase-admin",
            "push",
            target,
            len(few),
            lambda: through_provider(FcmReference(system_clock), target, few, options.seconds),
        ),
        await measure(
            "delivery's provider alone",
            "push",
            target,
            len(messages),
            lambda: through_provider(FcmProvider(system_clock), target, messages, options.seconds),
        ),
    ]


async def run(options: argparse.Namespace) -> list[Measured]:
    async with sink() as target:
        rows = await baselines(target, options)
        async with ledger() as store:
            for name, template in (("personal", PERSONAL), ("shared", SHARED)):
                await measure_sender(
                    name, Job("push", template, min(1_000, options.messages)), target, store, 30.0
                )  # plans and pools warm up
                job = Job("push", template, options.messages)
                rows.append(await measure_sender(f"depesche, {name} text", job, target, store, options.seconds))
    return rows


def verdict(rows: Sequence[Measured], goals: dict[str, tuple[int, float]], reference: str) -> dict[str, Any]:
    """Return which goals are met, and each row's ratio to the bare client and the reference of the same run."""
    by_name = {row.name: row for row in rows}
    bare = rows[0]
    found = {}
    for name, (rate, own) in goals.items():
        row = by_name[f"depesche, {name} text"]
        found[name] = {
            "per_second": round(row.per_second),
            "own_us": round(row.own_us, 1),
            "goal": {"per_second": rate, "own_us": own},
            "met": row.per_second >= rate and row.own_us <= own,
            "rate_to_bare": round(row.per_second / bare.per_second, 3),
            "cpu_to_bare": round(row.own_us / bare.own_us, 2),
            f"rate_to_{reference}": round(row.per_second / by_name[reference].per_second, 1),
        }
    return found


def parser(prog: str, description: str | None, messages: int, reference: int) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog=prog, description=description)
    made.add_argument("--messages", type=int, default=messages, help=f"messages per way (default {messages:,})")
    made.add_argument(
        "--reference-messages",
        type=int,
        default=reference,
        help=f"for the slow reference client (default {reference:,})",
    )
    made.add_argument("--seconds", type=float, default=120.0, help="time limit for each way (default 120)")
    return made


def report(bench: str, rows: Sequence[Measured], verdicts: dict[str, Any]) -> None:
    print(HEADER)
    for row in rows:
        print(row.row())
    for name, each in verdicts.items():
        goal, met = each["goal"], "met" if each["met"] else "missed"
        print(f"{name}: {met} (goal {goal['per_second']:,}/s at {goal['own_us']} CPU-µs own)")
    print(json.dumps({"bench": bench, "verdict": verdicts, "rows": [row.document() for row in rows]}))


def main() -> None:
    options = parser("python -m bench.push", __doc__, 60_000, 1_500).parse_args()
    calm_garbage_collection()  # as in every process of the suite
    rows = uvloop.run(run(options))
    report("push", rows, verdict(rows, GOALS, "firebase-admin"))


if __name__ == "__main__":
    main()
