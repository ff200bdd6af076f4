"""Back-off, breaker, Retry-After and the tables of refusals: pure, with time and randomness as parameters."""

import json
from datetime import UTC, datetime

import pytest

from libs.contracts.reasons import Reason
from libs.retry_after import LONGEST_SECONDS, retry_after_seconds
from services.delivery.domain.backoff import Backoff
from services.delivery.domain.breaker import Breaker, BreakerPolicy, State
from services.delivery.domain.outcomes import NOT_CALLED, Ambiguous, Deferred, Outcome, Rejected, Sent
from services.delivery.domain.refusals import fcm, smtp, twilio
from services.delivery.domain.refusals.smtp import Reply

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
AWAY = Deferred(Reason.PROVIDER_UNAVAILABLE, "away")
BUSY = Deferred(Reason.THROTTLED, "429", retry_after=1.0)
POLICY = BreakerPolicy(threshold=3, pause_seconds=2.0, longest_pause_seconds=6.0)


# ---- back-off


def test_the_delay_doubles_up_to_the_cap() -> None:
    backoff = Backoff(base_seconds=2.0, cap_seconds=60.0)
    assert [backoff.delay(attempt, 1.0) for attempt in (1, 2, 3, 6, 60, 10_000)] == [2, 4, 8, 60, 60, 60]


def test_jitter_is_full() -> None:
    """Any delay between zero and the bound, so that calls which failed together spread as widely as possible."""
    assert Backoff(2.0, 60.0).delay(3, 0.0) == 0
    assert Backoff(2.0, 60.0).delay(3, 0.25) == 2


def test_retry_after_is_a_lower_bound() -> None:
    """Never before Retry-After, and not all at once after it."""
    backoff = Backoff(2.0, 60.0)
    assert backoff.delay(1, 0.0, retry_after=120.0) == 120
    assert 120 < backoff.delay(1, 0.9, retry_after=120.0) < 132.1
    assert 0 < backoff.delay(1, 0.5, retry_after=0.0) <= 1


# ---- Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Monday, 23-Nov-26 12:00:30 GMT", 30.0),
        ("Mon Nov 23 12:00:30 2026", 30.0),
        ("Mon, 23 Nov 2026 11:59:00 GMT", 0.0),
        ("Mon, 23 Nov 2099 12:00:00 GMT", LONGEST_SECONDS),
        ("99999999999999999999", LONGEST_SECONDS),
        ("-3", None),
        ("soon", None),
        ("٣", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


# ---- breaker


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(POLICY)
    for _ in range(POLICY.threshold):
        breaker.note(AWAY, at)
    return breaker


def test_consecutive_failures_open_the_breaker_once() -> None:
    breaker = Breaker(POLICY)
    assert [breaker.note(AWAY, 0.0) for _ in range(5)] == [False, False, True, False, False]
    assert not breaker.allows(1.9)
    assert breaker.opens_in(0.5) == 1.5


@pytest.mark.parametrize("good", [Sent("x"), Rejected(Reason.DEVICE_UNREGISTERED, "gone", retire=True)])
def test_any_answer_resets_the_failures(good: Outcome) -> None:
    """A dead token is an answer: a hundred of them open nothing."""
    breaker = Breaker(POLICY)
    for outcome in (AWAY, AWAY, good, AWAY, AWAY):
        assert not breaker.note(outcome, 0.0)
    assert breaker.state(0.0) is State.CLOSED


@pytest.mark.parametrize("silent", [BUSY, NOT_CALLED])
def test_being_throttled_does_not_count_as_a_failure(silent: Outcome) -> None:
    breaker = Breaker(POLICY)
    assert not any(breaker.note(silent, 0.0) for _ in range(10))


@pytest.mark.parametrize(
    "bad",
    [
        Ambiguous(Reason.TIMED_OUT, "no answer"),
        Deferred(Reason.SENDER_MISCONFIGURED, "login", sender_fault=True),
        Rejected(Reason.SENDER_MISCONFIGURED, "not from you", sender_fault=True),
    ],
)
def test_silence_and_wrong_logins_open_the_breaker(bad: Outcome) -> None:
    breaker = Breaker(POLICY)
    assert [breaker.note(bad, 0.0) for _ in range(3)][-1]


def test_one_probe_decides() -> None:
    """Half-open, one caller tries; its success closes the breaker for all, its failure doubles the pause."""
    breaker = opened()
    assert breaker.allows(2.0)
    assert not breaker.allows(2.0)
    assert breaker.note(AWAY, 2.5)
    assert breaker.opens_in(2.5) == 4.0
    assert breaker.allows(6.5)
    breaker.note(Sent(), 6.6)
    assert breaker.state(6.6) is State.CLOSED
    assert breaker.allows(6.6)


def test_the_pause_is_capped_and_resets_after_success() -> None:
    breaker, now = opened(), 0.0
    for _ in range(5):
        now += breaker.opens_in(now)
        assert breaker.allows(now)
        breaker.note(AWAY, now)
    assert breaker.opens_in(now) == POLICY.longest_pause_seconds
    breaker.note(Sent(), now + 10)
    for _ in range(POLICY.threshold):
        breaker.note(AWAY, now + 11)
    assert breaker.opens_in(now + 11) == POLICY.pause_seconds


def test_a_lost_probe_does_not_block_for_ever() -> None:
    breaker = opened()
    assert breaker.allows(2.0)
    assert not breaker.allows(3.0)
    assert breaker.allows(2.0 + POLICY.longest_pause_seconds)


# ---- refusals


def fcm_body(code: str | None, message: str = "x", **more: object) -> bytes:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "X"}]
    if code:
        details.append({"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code})
    return json.dumps({"error": {"code": 1, "message": message, "status": "S", "details": details} | more}).encode()


def test_fcm_opposite_cases_share_a_status() -> None:
    """404 and 403 retire a device only with FCM's own code."""
    dead = fcm.sort_reply(404, fcm_body("UNREGISTERED"), None)
    wrong = fcm.sort_reply(404, fcm_body(None), None)
    foreign = fcm.sort_reply(403, fcm_body("SENDER_ID_MISMATCH"), None)
    forbidden = fcm.sort_reply(403, fcm_body(None), None)
    assert isinstance(dead, Rejected)
    assert dead.retire
    assert isinstance(foreign, Rejected)
    assert foreign.retire
    assert isinstance(wrong, Deferred)
    assert wrong.sender_fault
    assert isinstance(forbidden, Deferred)
    assert forbidden.sender_fault


def test_fcm_wrong_apns_key_does_not_retire_the_device() -> None:
    outcome = fcm.sort_reply(401, fcm_body("THIRD_PARTY_AUTH_ERROR"), None)
    assert isinstance(outcome, Deferred)
    assert outcome.sender_fault


@pytest.mark.parametrize(
    "body", [b"", b"<html>502</html>", b"\xff\xfe", b'{"error":"no"}', b'{"error":{"details":5}}', b"[" * 50_000]
)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (404, Deferred),
        (413, Rejected),
        (418, Rejected),
        (429, Deferred),
        (500, Deferred),
        (502, Ambiguous),
        (302, Deferred),
    ],
)
def test_fcm_unparsable_bodies_are_classified_by_status(status: int, kind: type, body: bytes) -> None:
    """A proxy's page in place of FCM's JSON retires no device and raises nothing."""
    outcome = fcm.sort_reply(status, body, None)
    assert type(outcome) is kind
    assert not isinstance(outcome, Rejected) or not outcome.retire
    assert not isinstance(outcome, Sent)
    assert outcome.text


@pytest.mark.parametrize(
    ("delay", "header", "seconds"),
    [("30s", None, 30.0), ("1.5s", None, 1.5), ("30s", 7.0, 7.0), ("soon", None, 60.0), ("999999999s", None, 86_400.0)],
)
def test_fcm_retry_delay_is_read_from_the_body(delay: str, header: float | None, seconds: float) -> None:
    """google.rpc.RetryInfo, when there is no Retry-After."""
    details = [
        {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "QUOTA_EXCEEDED"},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]
    body = json.dumps({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}).encode()
    outcome = fcm.sort_reply(429, body, header)
    assert isinstance(outcome, Deferred)
    assert (outcome.reason, outcome.retry_after) == (Reason.THROTTLED, seconds)


def test_fcm_a_bad_payload_retires_no_device() -> None:
    outcome = fcm.sort_reply(400, fcm_body("INVALID_ARGUMENT", "Android message is too big"), None)
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.retire) == (Reason.PAYLOAD_INVALID, False)


@pytest.mark.parametrize(
    ("code", "text", "command", "reason", "enhanced"),
    [
        (550, "5.1.1 no such user", "RCPT", Reason.MAILBOX_UNAVAILABLE, "5.1.1"),
        (550, "no such user", "RCPT", Reason.MAILBOX_UNAVAILABLE, None),
        (550, "5.7.1 blocked", "RCPT", Reason.PROVIDER_REJECTED, "5.7.1"),
        (550, "5.2.1 disabled", "RCPT", Reason.MAILBOX_UNAVAILABLE, "5.2.1"),
        (553, "5.1.3 syntax", "RCPT", Reason.ADDRESS_INVALID, "5.1.3"),
        (501, "bad address", "RCPT", Reason.ADDRESS_INVALID, None),
        (552, "5.3.4 too big", "MAIL", Reason.TOO_LARGE, "5.3.4"),
        (552, "too big", "message", Reason.TOO_LARGE, None),
        (552, "5.2.2 mailbox full", "RCPT", Reason.PROVIDER_REJECTED, "5.2.2"),
        (550, "5.7.1 not from you", "MAIL", Reason.SENDER_MISCONFIGURED, "5.7.1"),
        (554, "5.7.1 spam", "message", Reason.PROVIDER_REJECTED, "5.7.1"),
        (550, "5.1.1 no such user", "message", Reason.MAILBOX_UNAVAILABLE, "5.1.1"),
        (550, "4.2.0 confused", "RCPT", Reason.MAILBOX_UNAVAILABLE, None),
        (553, "5.7.1 <news@shop>: Sender address rejected: not owned", "RCPT", Reason.PROVIDER_REJECTED, "5.7.1"),
        (554, "5.2.252 SendAsDenied; not allowed to send as news", "message", Reason.SENDER_MISCONFIGURED, "5.2.252"),
        (550, "5.7.60 SMTP; may not send as this sender", "message", Reason.SENDER_MISCONFIGURED, "5.7.60"),
        (550, "5.1.8 Access denied, bad outbound sender", "message", Reason.SENDER_MISCONFIGURED, "5.1.8"),
    ],
)
def test_smtp_5xx_is_final_with_its_text(
    code: int, text: str, command: str, reason: Reason, enhanced: str | None
) -> None:
    outcome = smtp.sort_reply(Reply(code, text), command)
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.enhanced, outcome.code, outcome.text) == (reason, enhanced, code, text)
    assert outcome.sender_fault == (reason is Reason.SENDER_MISCONFIGURED)


@pytest.mark.parametrize(
    ("code", "command", "fault"),
    [
        (421, "RCPT", False),
        (450, "RCPT", False),
        (451, "message", False),
        (530, "MAIL", True),
        (535, "AUTH", True),
        (554, "CONNECT", True),
        (250, "DATA", False),
        (503, "MAIL", True),  # Stalwart's "authenticate first"
        (503, "DATA", False),
        (454, "STARTTLS", False),
        (454, "AUTH", False),  # Gmail's "too many logins"
        (454, "RCPT", False),
    ],
)
def test_smtp_retryable_replies_are_deferred(code: int, command: str, fault: bool) -> None:
    """4xx, and every reply about our login rather than the mail."""
    outcome = smtp.sort_reply(Reply(code, "said so"), command)
    assert isinstance(outcome, Deferred)
    assert outcome.sender_fault is fault


def test_amazons_454_means_throttled() -> None:
    outcome = smtp.sort_reply(Reply(454, "Throttling failure: Maximum sending rate exceeded."), "message")
    assert isinstance(outcome, Deferred)
    assert (outcome.reason, outcome.sender_fault) == (Reason.THROTTLED, False)


def test_twilio_error_codes_of_receipts() -> None:
    assert twilio.reason_of("30005") is Reason.ADDRESS_INVALID
    assert twilio.reason_of("30003") is Reason.PROVIDER_GAVE_UP
    assert twilio.reason_of(None) is Reason.PROVIDER_GAVE_UP
    assert twilio.reason_of("nonsense") is Reason.PROVIDER_GAVE_UP
