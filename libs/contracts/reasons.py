"""Every "no" that Depesche can say: one closed list.

The number stands in the database, the word on the wire; neither is ever changed or used again. Each has a
sentence for people and the next step. `{detail}` in a sentence is what the place that said no adds.
"""

from dataclasses import dataclass

from libs.contracts.outcomes import Word


@dataclass(frozen=True, slots=True)
class Text:
    """A reason in plain words: what happened, and what to do about it."""

    sentence: str
    next_step: str


class Reason(Word):
    NONE = 0
    # our rule said no (skipped)
    NO_CONSENT = 1
    QUIET_HOURS = 2
    EXPIRED = 3
    CONDITION_FALSE = 4
    NO_ADDRESS = 5
    NO_RECIPIENT = 6
    DUPLICATE = 7
    CANCELLED = 8
    RELEASE_INACTIVE = 9
    RECIPIENT_ERASED = 10
    RENDER_FAILED = 11
    TOO_LARGE = 12
    CAP_REACHED = 13
    # before there is a notification (decision)
    NO_COMMUNICATION = 20
    SCHEMA_INVALID = 21
    RECIPIENT_MISSING = 22
    CONDITION_ERROR = 23
    MAPPING_FAILED = 24
    # the address is barred (suppressed)
    SUPPRESSED_BOUNCE = 30
    SUPPRESSED_COMPLAINT = 31
    SUPPRESSED_UNSUBSCRIBE = 32
    SUPPRESSED_MANUAL = 33
    # the provider said no (failed)
    PROVIDER_REJECTED = 40
    DEVICE_UNREGISTERED = 41
    ADDRESS_INVALID = 42
    PAYLOAD_INVALID = 43
    SENDER_MISCONFIGURED = 44
    RETRIES_EXHAUSTED = 45
    MAILBOX_UNAVAILABLE = 46
    PROVIDER_GAVE_UP = 47
    # not yet, or nobody knows
    THROTTLED = 60
    PROVIDER_UNAVAILABLE = 61
    TIMED_OUT = 62
    WORKER_CRASHED = 63
    HELD = 64
    RECIPIENTS_UNAVAILABLE = 65
    RELEASE_UNAVAILABLE = 66
    BREAKER_OPEN = 67
    CONNECTION_LOST = 68
    # the provider is asked what became of it (on_unknown: verify)
    VERIFYING = 70
    VERIFIED_SENT = 71
    VERIFIED_NOT_SENT = 72
    NOT_VERIFIED = 73
    # our own fault
    INTERNAL = 90
    UNKNOWN_FINAL = 91

    @property
    def text(self) -> Text:
        return TEXTS[self]


TEXTS: dict[Reason, Text] = {
    Reason.NONE: Text("Nothing speaks against it.", "Nothing to do."),
    Reason.NO_CONSENT: Text(
        "The customer has not agreed to this topic on this channel.",
        "Ask the customer to subscribe to the topic; the consent then counts for the next message.",
    ),
    Reason.QUIET_HOURS: Text(
        "It is the customer's quiet time.", "It is sent when the quiet time ends, if it has not expired by then."
    ),
    Reason.EXPIRED: Text(
        "It was no longer worth sending when its turn came.",
        "See what delayed it; if the message stays useful for longer, raise the communication's expiry.",
    ),
    Reason.CONDITION_FALSE: Text(
        "The communication's condition is false for this event.",
        "If it should have been true, compare the event's data with the condition.",
    ),
    Reason.NO_ADDRESS: Text(
        "The customer has no usable address on the channels of this communication.",
        "Register a device, an e-mail address or a phone number for the customer.",
    ),
    Reason.NO_RECIPIENT: Text(
        "Nobody is known under this recipient key.",
        "Import the recipient, or check the communication's recipient expression.",
    ),
    Reason.DUPLICATE: Text("The same notification had already been requested.", "Nothing to do: the first one counts."),
    Reason.CANCELLED: Text("It was cancelled by an operator.", "The audit shows who cancelled it and why."),
    Reason.RELEASE_INACTIVE: Text(
        "The communication was retired before it was sent.", "Publish it again if it should still be sent."
    ),
    Reason.RECIPIENT_ERASED: Text("The customer's data were erased.", "Nothing to do: erasure is final."),
    Reason.RENDER_FAILED: Text(
        "The text could not be rendered from this event's data: {detail}",
        "Mend the template or the event, publish, and send the event again with a new id.",
    ),
    Reason.TOO_LARGE: Text(
        "The rendered text is larger than the channel takes: {detail}", "Shorten the template, then publish it."
    ),
    Reason.CAP_REACHED: Text("The customer has had enough messages for now.", "Raise the cap if that is wrong."),
    Reason.NO_COMMUNICATION: Text(
        "No published communication listens to this event type.",
        "Publish a communication with this trigger, or stop sending the event.",
    ),
    Reason.SCHEMA_INVALID: Text(
        "The event does not fit the schema of its type: {detail}",
        "Mend the event or the schema, then replay the kept event.",
    ),
    Reason.RECIPIENT_MISSING: Text(
        "The recipient expression found nobody in this event.",
        "Compare the event's data with the communication's recipient expression.",
    ),
    Reason.CONDITION_ERROR: Text(
        "The communication's expression failed on this event: {detail}",
        "Mend the expression (has() guards a field that may be absent), then publish.",
    ),
    Reason.MAPPING_FAILED: Text(
        "The source's mapping made no event of this delivery: {detail}",
        "Mend the source's mapping, then replay the kept delivery.",
    ),
    Reason.SUPPRESSED_BOUNCE: Text(
        "The address is barred: mail to it came back for good.",
        "Look at the suppression's evidence; lift it if the address works again.",
    ),
    Reason.SUPPRESSED_COMPLAINT: Text(
        "The address is barred for marketing: its owner reported a message as spam.",
        "Respect it. Only a new opt-in justifies lifting it.",
    ),
    Reason.SUPPRESSED_UNSUBSCRIBE: Text(
        "The address is barred for marketing: its owner unsubscribed.", "Only a new opt-in justifies lifting it."
    ),
    Reason.SUPPRESSED_MANUAL: Text(
        "The address was barred by hand.", "The suppression shows who did it and why; it can be lifted."
    ),
    Reason.PROVIDER_REJECTED: Text(
        "The provider refused the message: {detail}", "Read the provider's reply; it is kept with the attempt."
    ),
    Reason.DEVICE_UNREGISTERED: Text(
        "The app is no longer installed on this device.",
        "Nothing to do: the device is retired until the app registers again.",
    ),
    Reason.ADDRESS_INVALID: Text(
        "The provider says that this address cannot exist.", "Correct the address in the customer's record."
    ),
    Reason.PAYLOAD_INVALID: Text(
        "The provider refused the message's form: {detail}", "Mend the template, then publish it."
    ),
    Reason.SENDER_MISCONFIGURED: Text(
        "The provider does not accept our credentials for this sender.", "Check the sender's credentials."
    ),
    Reason.RETRIES_EXHAUSTED: Text(
        "The provider could not take it in all the tries allowed.",
        "See the provider's last replies; send the event again with a new id if it still matters.",
    ),
    Reason.MAILBOX_UNAVAILABLE: Text(
        "The mail server says that there is no such mailbox.", "Correct the address in the customer's record."
    ),
    Reason.PROVIDER_GAVE_UP: Text(
        "The provider accepted it and gave it up afterwards.", "Read the receipt; it is kept with the message."
    ),
    Reason.THROTTLED: Text(
        "It is put off: the sender's rate is used up, or the provider cannot take it right now.",
        "It is tried again by itself; what the provider said is kept with each try.",
    ),
    Reason.PROVIDER_UNAVAILABLE: Text("The provider could not be reached.", "It is tried again by itself."),
    Reason.TIMED_OUT: Text(
        "The provider did not answer in time, so nobody knows whether it accepted the message.",
        "The communication's on_unknown decides whether it is sent again; a receipt may still settle it.",
    ),
    Reason.WORKER_CRASHED: Text(
        "The worker ended between calling the provider and recording its answer.",
        "The communication's on_unknown decides whether it is sent again; a receipt may still settle it.",
    ),
    Reason.HELD: Text("An operator's hold stops it.", "Lift the hold; nothing is lost meanwhile."),
    Reason.RECIPIENTS_UNAVAILABLE: Text(
        "The customer's addresses could not be looked up.", "It is tried again by itself."
    ),
    Reason.RELEASE_UNAVAILABLE: Text(
        "The release could not be fetched yet.", "It is tried again by itself; an alarm is raised after 5 minutes."
    ),
    Reason.BREAKER_OPEN: Text(
        "The sender is paused after many failures in a row.", "It is tried again by itself when the provider answers."
    ),
    Reason.CONNECTION_LOST: Text(
        "The connection broke after the message was handed over, so nobody knows whether it was accepted.",
        "The communication's on_unknown decides whether it is sent again; a receipt may still settle it.",
    ),
    Reason.VERIFYING: Text(
        "The provider did not say whether it accepted the message, and is asked what became of it.",
        "Wait: it is asked again by itself, until it is certain or the time to ask is over; a receipt may come first.",
    ),
    Reason.VERIFIED_SENT: Text(
        "The provider did not answer at first. Asked afterwards, it had the message.",
        "Nothing to do: it was sent once.",
    ),
    Reason.VERIFIED_NOT_SENT: Text(
        "The provider did not answer at first. Asked afterwards, it did not have the message.",
        "It is sent again by itself, as long as it has not expired.",
    ),
    Reason.NOT_VERIFIED: Text(
        "The provider was asked what became of the message, and it could not be learned: {detail}",
        "Look the message up in the provider's own log; a receipt may still settle it.",
    ),
    Reason.INTERNAL: Text("Our own fault: {detail}", "Report it with the message's id; the trace shows where."),
    Reason.UNKNOWN_FINAL: Text(
        "It was never learned whether the provider accepted it, and the time to learn it is over.",
        "Ask the customer; the provider's own log may know.",
    ),
}
