"""FCM's rules: which messages it accepts, and how it words its refusals."""

import json

import pytest

from services.simulator.domain import push


def body(**message: object) -> bytes:
    return json.dumps({"message": {"token": "t1", **message}}).encode()


def test_a_message_with_every_field_is_read() -> None:
    call = push.read(
        body(
            notification={"title": "On its way", "body": "🎉 שלום", "image": "https://shop.example/a.png"},
            data={"message": "n.1", "attempt": "2"},
            android={"collapse_key": "order", "ttl": "3600s", "priority": "HIGH", "notification": {"tag": "n.1"}},
            apns={"headers": {"apns-collapse-id": "n.1"}, "payload": {"aps": {"alert": {"title": "x"}}}},
        )
    )
    assert (call.message.tag(), call.message.attempt(), call.message.address()) == ("n.1", 2, "t1")


def test_camel_case_is_accepted_like_snake_case() -> None:
    android = {"collapseKey": "order", "restrictedPackageName": "a.b", "data": {"orderNumber": "1"}}
    call = push.read(json.dumps({"validateOnly": True, "message": {"token": "t", "android": android}}).encode())
    assert call.validate_only
    assert call.message.android is not None
    assert call.message.android.collapse_key == "order"
    assert call.message.android.data == {"orderNumber": "1"}


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"data": {"count": 3}}, "message.data[...]"),
        ({"titel": "x"}, "message"),
        ({"topic": "news"}, "message.token"),
        ({"token": ""}, "message.token"),
        ({"data": {"from": "x"}}, "message.data[from]"),
        ({"data": {"google.x": "x"}}, "message.data[google.x]"),
        ({"android": {"ttl": "1h"}}, "message.android.ttl"),
        ({"android": {"ttl": 3600}}, "message.android.ttl"),
        ({"data": {"a": "x" * 4096}}, "message.android"),
        ({"apns": {"payload": {"aps": {"alert": "x" * 4100}}}}, "message.apns"),
        ({"notification": "text"}, "message.notification"),
    ],
)
def test_an_invalid_message_is_an_invalid_argument_naming_the_field(message: dict[str, object], field: str) -> None:
    with pytest.raises(push.Refusal) as refused:
        push.read(body(**message))
    error = json.loads(refused.value.body())["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["details"][0]["fieldViolations"][0]["field"] == field
    assert error["details"][1]["errorCode"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"message":null}', b"\xff", b"[" * 5000 + b"]" * 5000])
def test_no_body_causes_a_crash(raw: bytes) -> None:
    with pytest.raises(push.Refusal) as refused:
        push.read(raw)
    assert refused.value.http == 400


def test_a_long_body_with_a_short_payload_is_accepted() -> None:
    # given a message whose request is longer than 4,096 bytes, but not what reaches one device
    message = body(notification={"body": "x" * 2500}, apns={"payload": {"aps": {"alert": "x" * 3000}}})
    assert len(message) > 4096
    assert push.read(message).message.token == "t1"


def test_opposite_cases_differ_only_in_fcms_error_code() -> None:
    def code(refusal: push.Refusal) -> tuple[str, str]:
        error = json.loads(refusal.body())["error"]
        own = [d["errorCode"] for d in error.get("details", []) if d["@type"].endswith("fcm.v1.FcmError")]
        return error["status"], own[0] if own else ""

    assert code(push.UNREGISTERED) == ("NOT_FOUND", "UNREGISTERED")
    assert code(push.THIRD_PARTY) == ("UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR")
    assert code(push.UNAUTHENTICATED) == ("UNAUTHENTICATED", "")
    assert code(push.QUOTA) == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert code(push.MISMATCH) == ("PERMISSION_DENIED", "SENDER_ID_MISMATCH")
