"""A push as FCM's JSON (firebase.google.com/docs/reference/fcm/rest/v1/projects.messages).

What hangs on the content alone is encoded once per content, however many pushes share it; a message then is
a join of a dozen pieces. The tag stands where Android, iOS and browsers replace a notification by it, so
that a resend shows once.
"""

from collections.abc import Callable

import msgspec

from libs.rendering.contents import PushContent
from services.delivery.domain.outbound import Outbound

_LONGEST_TTL = 2_419_200  # FCM keeps a message for at most 28 days
_REMEMBERED = 1_024

_encode = msgspec.json.Encoder().encode
Seconds = Callable[[], float]


class PushEncoder:
    """Encodes for one sender. `now` gives Unix seconds: APNs wants a moment, not a duration."""

    def __init__(self, now: Seconds) -> None:
        self._now = now
        # by identity, holding the content so that its id stays its own
        self._pieces: dict[int, tuple[PushContent, _Pieces]] = {}

    def encode(self, message: Outbound, content: PushContent) -> bytes:
        """The request's body."""
        known = self._pieces.get(id(content))
        if known is None or known[0] is not content:
            if len(self._pieces) >= _REMEMBERED:
                self._pieces.clear()
            known = self._pieces[id(content)] = (content, _Pieces(content))
        pieces = known[1]
        tag = _encode(message.tag)
        seconds = message.ttl_seconds if pieces.ttl is None else min(pieces.ttl, message.ttl_seconds)
        ttl = b"%d" % max(0, min(seconds, _LONGEST_TTL))
        return b"".join(
            (
                b'{"message":{"fid":' if message.kind == "fid" else b'{"message":{"token":',
                _encode(message.address),
                pieces.notification_and_data,
                tag + b',"attempt":"%d"' % message.attempt if pieces.tags_data else b"",
                pieces.android,
                ttl,
                b's","notification":{"tag":',
                tag,
                b'}},"apns":{"headers":{"apns-collapse-id":',
                tag,
                b',"apns-expiration":"%d"}' % (int(self._now()) + int(ttl) if ttl != b"0" else 0),
                pieces.apns_and_webpush,
                ttl,
                b'"},"notification":{"tag":',
                tag,
                b"}}}}",
            )
        )


class _Pieces:
    """The parts of the JSON between the values that differ from message to message."""

    __slots__ = ("android", "apns_and_webpush", "notification_and_data", "tags_data", "ttl")

    def __init__(self, content: PushContent) -> None:
        self.ttl = content.ttl_seconds
        notification = {"title": content.title, "body": content.body}
        if content.image:
            notification["image"] = content.image
        data = dict(content.data)
        if content.link:
            data.setdefault("link", content.link)
        # the app reads which message, and which attempt, was opened; a template's own names go before
        self.tags_data = "message" not in data and "attempt" not in data
        head = b',"notification":' + _encode(notification) + b',"data":'
        if self.tags_data:
            pairs = _encode(data)[:-1] + (b"," if data else b"")
            self.notification_and_data = head + pairs + b'"message":'
        else:
            self.notification_and_data = head + _encode(data)[:-1]
        collapse = b'"collapse_key":' + _encode(content.collapse_key) + b"," if content.collapse_key else b""
        self.android = b'},"android":{' + collapse + b'"ttl":"'
        apns = b"}"
        if content.image:  # iOS shows an image only if the app's extension may fetch it
            options = {"payload": {"aps": {"mutable-content": 1}}, "fcm_options": {"image": content.image}}
            apns = b"," + _encode(options)[1:]
        web = b""
        if content.link and content.link.startswith("https://"):  # FCM refuses other links here
            web = b'"fcm_options":{"link":' + _encode(content.link) + b"},"
        self.apns_and_webpush = apns + b',"webpush":{' + web + b'"headers":{"TTL":"'
