"""The reference push adapter on firebase-admin: our own sender must agree with it, and is measured against it.

It touches firebase-admin's private parts in one place (`_service`), because the SDK supports only one URL. Its
retries are off: they would hide the provider's replies. Not for production.
"""

import ssl
import time
import warnings
from collections.abc import Sequence
from typing import Any

import firebase_admin
import httpx
from firebase_admin import credentials, messaging
from google.oauth2.credentials import Credentials

from libs.clock import Clock
from libs.contracts.outcomes import Channel
from libs.contracts.reasons import Reason
from libs.rendering.contents import PushContent
from libs.retry_after import retry_after_seconds
from services.delivery.domain.outbound import FcmAccount, Outbound, Sender
from services.delivery.domain.outcomes import NOT_CALLED, Ambiguous, Deferred, Outcome, Sent
from services.delivery.domain.refusals.fcm import sort_reply
from services.delivery.ports import Settle

_BATCH = 100  # the SDK accepts 500, but opens as many streams


class _Token(credentials.Base):  # type: ignore[misc]  # firebase-admin has no types
    """A fixed token, for the simulator."""

    def __init__(self, token: str) -> None:
        self._credentials: Any = Credentials(token)  # type: ignore[no-untyped-call]

    def get_credential(self) -> Any:
        return self._credentials


class FcmReference:
    """The port's push provider, through firebase-admin."""

    channel = Channel.PUSH

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apps: dict[int, Any] = {}

    async def send(self, sender: Sender, messages: Sequence[Outbound], deadline: float, settle: Settle) -> None:
        """See the port."""
        app = self._apps.get(sender.number)
        if app is None:
            app = self._apps[sender.number] = _app(sender)
        for start in range(0, len(messages), _BATCH):
            batch = messages[start : start + _BATCH]
            if time.monotonic() >= deadline:
                replies: list[Any] = [None] * len(batch)
            else:
                made = [build(message, self._clock) for message in batch]
                replies = (await messaging.send_each_async(made, app=app)).responses
            for offset, reply in enumerate(replies):
                settle(start + offset, NOT_CALLED if reply is None else self._sort(reply))

    async def close(self) -> None:
        for app in self._apps.values():
            await _service(app)._async_client.aclose()
            firebase_admin._apps.pop(app.name, None)  # delete_app would run a second loop
        self._apps.clear()

    def _sort(self, reply: Any) -> Outcome:
        if reply.success:
            return Sent(reply.message_id.rpartition("/")[2])
        error = reply.exception
        if error.http_response is not None:
            response = error.http_response
            wait = retry_after_seconds(response.headers.get("retry-after"), self._clock())
            return sort_reply(response.status_code, response.content, wait)
        match error.cause:
            case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout():
                return Deferred(Reason.PROVIDER_UNAVAILABLE, str(error))
            case httpx.TimeoutException():
                return Ambiguous(Reason.TIMED_OUT, str(error))
            case cause if "error_code:7" in str(cause) or "REFUSED_STREAM" in str(cause):
                return Deferred(Reason.PROVIDER_UNAVAILABLE, str(error))
            case _:
                return Ambiguous(Reason.CONNECTION_LOST, str(error))


def build(message: Outbound, clock: Clock) -> Any:
    """Build the same push with the SDK's types."""
    content = message.content
    assert isinstance(content, PushContent)
    ttl = min(message.ttl_seconds, 2_419_200 if content.ttl_seconds is None else content.ttl_seconds)
    data = ({"link": content.link} if content.link else {}) | dict(content.data)
    if "message" not in data and "attempt" not in data:
        data |= {"message": message.tag, "attempt": str(message.attempt)}
    options = messaging.APNSFCMOptions(image=content.image) if content.image else None
    web = content.link if content.link and content.link.startswith("https://") else None
    expiry = str(int(clock().timestamp()) + ttl) if ttl else "0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Message.token is supported until 2027
        return messaging.Message(
            notification=messaging.Notification(content.title, content.body, content.image),
            data=data,
            android=messaging.AndroidConfig(
                collapse_key=content.collapse_key,
                ttl=ttl,
                notification=messaging.AndroidNotification(tag=message.tag),
            ),
            apns=messaging.APNSConfig(
                headers={"apns-collapse-id": message.tag, "apns-expiration": expiry},
                payload=messaging.APNSPayload(messaging.Aps(mutable_content=True)) if content.image else None,
                fcm_options=options,
            ),
            webpush=messaging.WebpushConfig(
                headers={"TTL": str(ttl)},
                notification=messaging.WebpushNotification(tag=message.tag),
                fcm_options=messaging.WebpushFCMOptions(link=web) if web else None,
            ),
            **{"fid" if message.kind == "fid" else "token": message.address},
        )


def encode(message: Outbound, clock: Clock) -> Any:
    """Return what the SDK would send, to compare with our own encoding."""
    return {"message": messaging._MessagingService.encode_message(build(message, clock))}


def _app(sender: Sender) -> Any:
    account = sender.account
    assert isinstance(account, FcmAccount)
    credential = _Token(account.static_token or "")
    options = {"projectId": account.project, "httpTimeout": account.timeout_seconds}
    app = firebase_admin.initialize_app(credential, options, name=f"sender-{sender.number}-{id(sender)}")
    service = _service(app)
    service._fcm_url = f"{account.url}/v1/projects/{account.project}/messages:send"
    service._async_client._async_client = httpx.AsyncClient(
        http2=True,
        timeout=account.timeout_seconds,
        verify=ssl.create_default_context(cafile=account.ca_file),
        auth=_Bearer(account.static_token or ""),
    )
    return app


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Any:
        request.headers["authorization"] = f"Bearer {self._token}"
        yield request


def _service(app: Any) -> Any:
    return messaging._get_messaging_service(app)
