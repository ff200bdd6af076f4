"""A push as FCM's JSON (firebase.google.com/docs/reference/fcm/rest/v1/projects.messages).

What a campaign's pushes share besides their texts (image, link, data, time to live) is encoded once, whether the
texts are personal or not; each message is then one join. The tag goes where Android, iOS and browsers use it to
replace a notification, so that a resend shows once.
"""

from collections.abc import Callable

import msgspec

from libs.rendering.contents import PushContent
from services.delivery.domain.outbound import Outbound

_LONGEST_TTL = 2_419_200  # FCM stores a message for at most 28 days
_REMEMBERED = 1_024

_encode = msgspec.json.Encoder().encode
Seconds = Callable[[], float]


class PushEncoder:
    """Encodes for one sender. `now` returns Unix seconds: APNs needs a moment, not a duration."""

    def __init__(self, now: Seconds) -> None:
        self._now = now
        self._shapes: dict[tuple[object, ...], _Shape] = {}

    def encode(self, message: Outbound, content: PushContent) -> bytes:
        """Return the request's body."""
        key = (content.image, content.link, content.collapse_key, *content.data.items())
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= _REMEMBERED:
                self._shapes.clear()
            shape = self._shapes[key] = _Shape(content)
        tag = _encode(message.tag)
        seconds, longest = message.ttl_seconds, content.ttl_seconds
        if longest is not None and longest < seconds:
            seconds = longest
        seconds = max(0, min(seconds, _LONGEST_TTL))
        ttl = b"%d" % seconds
        return b"".join(
            (
                b'{"message":{"fid":' if message.kind == "fid" else b'{"message":{"token":',
                _encode(message.address),
                b',"notification":{"title":',
                _encode(content.title),
                b',"body":',
                _encode(content.body),
                shape.image_and_data,
                tag + b',"attempt":"%d"' % message.attempt if shape.tags_data else b"",
                shape.android,
                ttl,
                b's","notification":{"tag":',
                tag,
                b'}},"apns":{"headers":{"apns-collapse-id":',
                tag,
                b',"apns-expiration":"%d"}' % (int(self._now()) + seconds if seconds else 0),
                shape.apns_and_webpush,
                ttl,
                b'"},"notification":{"tag":',
                tag,
                b"}}}}",
            )
        )


class _Shape:
    """The JSON fragments between the values that differ from message to message."""

    __slots__ = ("android", "apns_and_webpush", "image_and_data", "tags_data")

    def __init__(self, content: PushContent) -> None:
        image = b',"image":' + _encode(content.image) if content.image else b""
        data = dict(content.data)
        if content.link:
            data.setdefault("link", content.link)
        # tells the app which message and attempt was opened; a template's own names take precedence
        self.tags_data = "message" not in data and "attempt" not in data
        self.image_and_data = image + b'},"data":' + _encode(data)[:-1]
        if self.tags_data:
            self.image_and_data += b',"message":' if data else b'"message":'
        collapse = b'"collapse_key":' + _encode(content.collapse_key) + b"," if content.collapse_key else b""
        self.android = b'},"android":{' + collapse + b'"ttl":"'
        apns = b"}"
        if content.image:  # iOS shows an image only if the app's extension may fetch it
            options = {"payload": {"aps": {"mutable-content": 1}}, "fcm_options": {"image": content.image}}
            apns = b"," + _encode(options)[1:]
        web = b""
        if content.link and content.link.startswith("https://"):  # FCM rejects other links here
            web = b'"fcm_options":{"link":' + _encode(content.link) + b"},"
        self.apns_and_webpush = apns + b',"webpush":{' + web + b'"headers":{"TTL":"'
