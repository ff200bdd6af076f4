"""The analysts' saved searches, charts and dashboards, as definitions. `saved_objects.py` makes them importable.

A chart counts records; `query` is DQL. Fields are those of the audit's mapping.
"""

from dataclasses import dataclass, field
from typing import Literal

MESSAGES = "kind: transition"
FINAL = "kind: transition and status: (sent or failed or skipped or suppressed or unknown)"


@dataclass(frozen=True, slots=True)
class Split:
    """Group by a field's values, the `most` most frequent ones."""

    field: str
    label: str
    most: int = 10


@dataclass(frozen=True, slots=True)
class Chart:
    """`over_time`: bars along the time; else `by` its first split. `distinct`: count different values instead."""

    id: str
    title: str
    type: Literal["metric", "pie", "table", "histogram", "line"]
    query: str
    by: tuple[Split, ...] = ()
    over_time: bool = False
    distinct: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Search:
    """A list of records, newest first."""

    id: str
    title: str
    query: str
    columns: tuple[str, ...]
    description: str = ""


@dataclass(frozen=True, slots=True)
class Controls:
    """Inputs that filter the whole dashboard by one value of each field."""

    id: str
    title: str
    fields: tuple[tuple[str, str], ...]  # field, label


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard: rows of panels; each panel's id with its width of 48 columns; the row's height."""

    id: str
    title: str
    description: str
    since: str
    rows: tuple[tuple[int, tuple[tuple[str, int], ...]], ...] = field(default=())


STATUS = Split("status", "Status", 7)
CHANNEL = Split("channel", "Channel", 4)
REASON = Split("reason", "Reason", 20)
COMMUNICATION = Split("communication", "Communication", 20)

CONTROLS = (
    Controls("controls-delivery", "Narrow", (
        ("tenant", "Tenant"), ("mode", "Mode"), ("communication", "Communication"), ("channel", "Channel"),
    )),
    Controls("controls-customer", "Recipient, order or message", (
        ("recipient", "Recipient"), ("subject", "Order"), ("message", "Message"),
    )),
)  # fmt: skip

SEARCHES = (
    Search(
        "not-sent", "Messages that were not sent", "kind: transition and status: (failed or skipped or suppressed)",
        ("status", "reason", "channel", "communication", "recipient", "subject", "detail"),
        "All refusals with their reasons.",
    ),
    Search(
        "refusals", "What providers said when they refused", "kind: rejection",
        ("channel", "reply_code", "enhanced_code", "error", "final", "detail", "message"),
    ),
    Search(
        "bounces", "Bounces", "type: bounce.classified",
        ("group", "category", "origin", "enhanced_code", "recipient", "detail", "message"),
    ),
    Search(
        "suppressions", "Suppressions placed and lifted", "type: suppression.changed",
        ("active", "reason", "scope", "detail", "address_key"),
    ),
    Search(
        "everything", "Everything that happened",  "kind: *",
        ("kind", "type", "status", "reason", "receipt", "channel", "communication", "recipient", "subject", "detail"),
    ),
    Search(
        "actions", "What people changed", "type: action.recorded", ("actor", "action", "object", "detail"),
    ),
)  # fmt: skip

CHARTS = (
    # delivery health
    Chart("sent-count", "Sent", "metric", "kind: transition and status: sent"),
    Chart("failed-count", "Failed", "metric", "kind: transition and status: failed"),
    Chart("unknown-count", "Unknown", "metric", "kind: transition and status: unknown"),
    Chart("reached", "Customers reached", "metric", "kind: transition and status: sent", distinct="recipient",
          description="Distinct recipients, estimated; without erased ones."),
    Chart("outcomes-over-time", "Outcomes over time", "histogram", FINAL, (STATUS,), over_time=True),
    Chart("sent-by-channel", "Sent by channel over time", "line", "kind: transition and status: sent", (CHANNEL,),
          over_time=True),
    Chart("reasons", "Why not sent", "pie", "kind: transition and not status: (sent or sending)", (REASON,)),
    Chart("by-communication", "Outcomes of each communication", "table", FINAL, (COMMUNICATION, STATUS)),
    Chart("decisions", "What was decided before there was a message", "table", "kind: decision",
          (Split("event_type", "Event type", 20), REASON)),
    Chart("put-back", "Put back for another attempt", "histogram", "kind: transition and status: pending", (REASON,),
          over_time=True, description="Throttled, or the provider was unavailable."),
    Chart("provider-answers", "What providers answered", "table", "kind: rejection",
          (CHANNEL, Split("reply_code", "Code", 20), Split("enhanced_code", "Enhanced", 20))),
    # bounces and suppressions
    Chart("bounces-over-time", "Bounces over time", "histogram", "type: bounce.classified",
          (Split("group", "Group", 4),), over_time=True),
    Chart("bounce-categories", "Bounces by category", "table", "type: bounce.classified",
          (Split("group", "Group", 4), Split("category", "Category", 30))),
    Chart("bounce-origins", "Where bounces were seen", "pie", "type: bounce.classified",
          (Split("origin", "Origin", 4),)),
    Chart("complaints", "Complaints", "metric", "kind: receipt and receipt: complained"),
    Chart("barred", "Addresses barred", "metric", "type: suppression.changed and active: true"),
    Chart("let-go", "Suppressions lifted", "metric", "type: suppression.changed and active: false"),
    Chart("suppression-reasons", "Why addresses were barred", "histogram", "type: suppression.changed and active: true",
          (REASON,), over_time=True),
    Chart("suppressed-messages", "Messages that a suppression stopped", "table",
          "kind: transition and status: suppressed", (COMMUNICATION, REASON)),
    # what happened to this customer
    Chart("customer-outcomes", "Outcomes of the messages", "pie", FINAL, (STATUS, REASON)),
    Chart("customer-receipts", "Receipts", "pie", "kind: receipt", (Split("receipt", "Receipt", 8),)),
    Chart("customer-days", "Day by day", "histogram", "kind: *", (Split("kind", "Kind", 5),), over_time=True),
    Chart("customer-decisions", "What each communication decided", "table", "kind: decision",
          (COMMUNICATION, REASON)),
)  # fmt: skip

BOARDS = (
    Board("delivery-health", "Delivery health", "What was sent, what was not and why.", "now-24h", (
        (5, (("controls-delivery", 48),)),
        (7, (("sent-count", 12), ("failed-count", 12), ("unknown-count", 12), ("reached", 12))),
        (14, (("outcomes-over-time", 30), ("reasons", 18))),
        (14, (("sent-by-channel", 24), ("put-back", 24))),
        (14, (("by-communication", 24), ("decisions", 24))),
        (14, (("provider-answers", 48),)),
        (16, (("not-sent", 48),)),
    )),
    Board("bounces-and-suppressions", "Bounces and suppressions", "Which addresses are barred, and why.", "now-7d", (
        (7, (("complaints", 16), ("barred", 16), ("let-go", 16))),
        (14, (("bounces-over-time", 30), ("bounce-origins", 18))),
        (14, (("bounce-categories", 24), ("suppression-reasons", 24))),
        (14, (("suppressed-messages", 48),)),
        (14, (("bounces", 48),)),
        (14, (("suppressions", 48),)),
        (14, (("refusals", 48),)),
    )),
    Board("customer", "What happened to this customer", "Choose a recipient, an order or a message.", "now-30d", (
        (5, (("controls-customer", 48),)),
        (12, (("customer-outcomes", 16), ("customer-receipts", 16), ("customer-decisions", 16))),
        (10, (("customer-days", 48),)),
        (20, (("everything", 48),)),
    )),
    Board("people", "What people changed", "Who did what to which object.", "now-30d", (
        (30, (("actions", 48),)),
    )),
)  # fmt: skip
