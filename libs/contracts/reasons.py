"""Every reason for not sending: one closed list.

The database stores the number, the wire carries the word; neither is ever changed or reused. Each reason has a
sentence for people and a next step. `{detail}` in a sentence is filled in by the code that gave the reason.
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
    # decided before there is a notification (decision)
    NO_COMMUNICATION = 20
    SCHEMA_INVALID = 21
    RECIPIENT_MISSING = 22
    CONDITION_ERROR = 23
    MAPPING_FAILED = 24
    # the address is suppressed (suppressed)
    SUPPRESSED_BOUNCE = 30
    SUPPRESSED_COMPLAINT = 31
    SUPPRESSED_UNSUBSCRIBE = 32
    SUPPRESSED_MANUAL = 33
    # the provider refused (failed)
    PROVIDER_REJECTED = 40
    DEVICE_UNREGISTERED = 41
    ADDRESS_INVALID = 42
    PAYLOAD_INVALID = 43
    SENDER_MISCONFIGURED = 44
    RETRIES_EXHAUSTED = 45
    MAILBOX_UNAVAILABLE = 46
    PROVIDER_GAVE_UP = 47
    # not yet, or unknown
    THROTTLED = 60
    PROVIDER_UNAVAILABLE = 61
    TIMED_OUT = 62
    WORKER_CRASHED = 63
    HELD = 64
    RECIPIENTS_UNAVAILABLE = 65
    RELEASE_UNAVAILABLE = 66
    BREAKER_OPEN = 67
    CONNECTION_LOST = 68
    # the provider is queried about the outcome (on_unknown: verify)
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
    Reason.NONE: Text("Nothing prevents sending it.", "Nothing to do."),
    Reason.NO_CONSENT: Text(
        "The customer has not agreed to this topic on this channel.",
        "Ask the customer to subscribe to the topic; consent applies from the next message on.",
    ),
    Reason.QUIET_HOURS: Text(
        "The customer's quiet hours are in effect.", "It is sent when they end, unless it has expired by then."
    ),
    Reason.EXPIRED: Text(
        "It expired before it could be sent.",
        "Check what delayed it; if the message stays useful for longer, raise the communication's expiry.",
    ),
    Reason.CONDITION_FALSE: Text(
        "The communication's condition is false for this event.",
        "If you expected it to be true, compare the event's data with the condition.",
    ),
    Reason.NO_ADDRESS: Text(
        "The customer has no usable address on the channels of this communication.",
        "Register a device, an e-mail address or a phone number for the customer.",
    ),
    Reason.NO_RECIPIENT: Text(
        "There is no recipient with this key.",
        "Import the recipient, or check the communication's recipient expression.",
    ),
    Reason.DUPLICATE: Text(
        "The same notification had already been requested.", "Nothing to do: the first request counts."
    ),
    Reason.CANCELLED: Text("An operator cancelled it.", "The audit shows who cancelled it and why."),
    Reason.RELEASE_INACTIVE: Text(
        "The communication was retired before it was sent.", "Publish it again if it should still be sent."
    ),
    Reason.RECIPIENT_ERASED: Text("The customer's data was erased.", "Nothing to do: erasure is final."),
    Reason.RENDER_FAILED: Text(
        "The text could not be rendered from this event's data: {detail}",
        "Fix the template or the event, publish, and send the event again with a new id.",
    ),
    Reason.TOO_LARGE: Text(
        "The rendered text is too large for the channel: {detail}", "Shorten the template, then publish it."
    ),
    Reason.CAP_REACHED: Text("The customer has reached the message cap for now.", "Raise the cap if it is too low."),
    Reason.NO_COMMUNICATION: Text(
        "No published communication is triggered by this event type.",
        "Publish a communication with this trigger, or stop sending the event.",
    ),
    Reason.SCHEMA_INVALID: Text(
        "The event does not match the schema of its type: {detail}",
        "Fix the event or the schema, then replay the stored event.",
    ),
    Reason.RECIPIENT_MISSING: Text(
        "The recipient expression found nobody in this event.",
        "Compare the event's data with the communication's recipient expression.",
    ),
    Reason.CONDITION_ERROR: Text(
        "The communication's expression failed on this event: {detail}",
        "Fix the expression (has() guards a field that may be absent), then publish.",
    ),
    Reason.MAPPING_FAILED: Text(
        "The source's mapping could not turn this delivery into an event: {detail}",
        "Fix the source's mapping, then replay the stored delivery.",
    ),
    Reason.SUPPRESSED_BOUNCE: Text(
        "The address is suppressed: mail to it bounced permanently.",
        "Check the suppression's evidence; lift it if the address works again.",
    ),
    Reason.SUPPRESSED_COMPLAINT: Text(
        "The address is suppressed for marketing: its owner reported a message as spam.",
        "Respect it. Only a new opt-in justifies lifting the suppression.",
    ),
    Reason.SUPPRESSED_UNSUBSCRIBE: Text(
        "The address is suppressed for marketing: its owner unsubscribed.", "Only a new opt-in justifies lifting it."
    ),
    Reason.SUPPRESSED_MANUAL: Text(
        "The address was suppressed manually.", "The suppression shows who did it and why; it can be lifted."
    ),
    Reason.PROVIDER_REJECTED: Text(
        "The provider refused the message: {detail}", "Read the provider's reply; it is stored with the attempt."
    ),
    Reason.DEVICE_UNREGISTERED: Text(
        "The app is no longer installed on this device.",
        "Nothing to do: the device is retired until the app registers again.",
    ),
    Reason.ADDRESS_INVALID: Text(
        "The provider says that this address is invalid.", "Correct the address in the customer's record."
    ),
    Reason.PAYLOAD_INVALID: Text(
        "The provider rejected the message's format: {detail}", "Fix the template, then publish it."
    ),
    Reason.SENDER_MISCONFIGURED: Text(
        "The provider does not accept our credentials for this sender.", "Check the sender's credentials."
    ),
    Reason.RETRIES_EXHAUSTED: Text(
        "The provider did not accept it within the allowed attempts.",
        "Read the provider's last replies; send the event again with a new id if it still matters.",
    ),
    Reason.MAILBOX_UNAVAILABLE: Text(
        "The mail server says that this mailbox does not exist.", "Correct the address in the customer's record."
    ),
    Reason.PROVIDER_GAVE_UP: Text(
        "The provider accepted it and later gave up.", "Read the receipt; it is stored with the message."
    ),
    Reason.THROTTLED: Text(
        "It is delayed: the sender's rate limit is reached, or the provider is temporarily refusing messages.",
        "It is retried automatically; each attempt stores the provider's reply.",
    ),
    Reason.PROVIDER_UNAVAILABLE: Text("The provider could not be reached.", "It is retried automatically."),
    Reason.TIMED_OUT: Text(
        "The provider did not answer in time, so nobody knows whether it accepted the message.",
        "The communication's on_unknown decides whether it is sent again; a receipt may still settle it.",
    ),
    Reason.WORKER_CRASHED: Text(
        "The worker stopped between calling the provider and recording its reply.",
        "The communication's on_unknown decides whether it is sent again; a receipt may still settle it.",
    ),
    Reason.HELD: Text("An operator has placed a hold on it.", "Lift the hold; nothing is lost in the meantime."),
    Reason.RECIPIENTS_UNAVAILABLE: Text(
        "The customer's addresses could not be looked up.", "It is retried automatically."
    ),
    Reason.RELEASE_UNAVAILABLE: Text(
        "The release could not be fetched yet.", "It is retried automatically; an alarm is raised after 5 minutes."
    ),
    Reason.BREAKER_OPEN: Text(
        "The sender is paused after many failures in a row.", "It is retried automatically when the provider responds."
    ),
    Reason.CONNECTION_LOST: Text(
        "The connection broke after the message was handed over, so nobody knows whether it was accepted.",
        "The communication's on_unknown decides whether it is sent again; a receipt may still settle it.",
    ),
    Reason.VERIFYING: Text(
        "The provider did not say whether it accepted the message, and is being queried about it.",
        "Wait: the query is repeated until the outcome is known or the time for it is over; a receipt may come first.",
    ),
    Reason.VERIFIED_SENT: Text(
        "The provider did not answer at first. A later query showed that it had the message.",
        "Nothing to do: it was sent once.",
    ),
    Reason.VERIFIED_NOT_SENT: Text(
        "The provider did not answer at first. A later query showed that it did not have the message.",
        "It is sent again automatically, unless it has expired.",
    ),
    Reason.NOT_VERIFIED: Text(
        "The provider was queried about the message, but the outcome could not be determined: {detail}",
        "Look the message up in the provider's own log; a receipt may still settle it.",
    ),
    Reason.INTERNAL: Text("An internal error: {detail}", "Report it with the message's id; the trace shows where."),
    Reason.UNKNOWN_FINAL: Text(
        "Whether the provider accepted it is unknown, and the time to find out is over.",
        "Ask the customer, or look in the provider's own log.",
    ),
}
