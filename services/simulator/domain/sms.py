"""Twilio's Messages resource: its errors and their texts (https://www.twilio.com/docs/api/errors)."""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

_NUMBER = re.compile(r"\+[1-9]\d{6,14}")
_TEXT_CHARACTERS = 1600


@dataclass(frozen=True)
class Refusal(Exception):
    """An error of the API: HTTP status, Twilio's code, its message."""

    http: int
    code: int
    text: str

    def body(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.text,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.http,
        }


UNAUTHENTICATED = Refusal(401, 20003, "Authenticate")
TOO_MANY = Refusal(429, 20429, "Too Many Requests")
UNAVAILABLE = Refusal(503, 20503, "Service is unavailable. Please try again")
INTERNAL = Refusal(500, 20500, "An internal server error has occurred")
STOPPED = Refusal(400, 21610, "Attempt to send to unsubscribed recipient")
NOT_FOUND = Refusal(404, 20404, "The requested resource was not found")


def not_a_number(number: str) -> Refusal:
    return Refusal(400, 21211, f"The 'To' number {number} is not a valid phone number.")


def check(form: dict[str, str]) -> None:
    """Refuse what Twilio refuses first."""
    if not form.get("To"):
        raise Refusal(400, 21604, "A 'To' phone number is required.")
    if not (form.get("From") or form.get("MessagingServiceSid")):
        raise Refusal(400, 21603, "A 'From' phone number is required.")
    if not (form.get("Body") or form.get("MediaUrl") or form.get("ContentSid")):
        raise Refusal(400, 21602, "Message body is required.")
    if len(form.get("Body", "")) > _TEXT_CHARACTERS:
        raise Refusal(400, 21617, "The concatenated message body exceeds the 1600 character limit")
    if not _NUMBER.fullmatch(form["To"]):
        raise not_a_number(form["To"])
    url = form.get("StatusCallback", "")
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise Refusal(400, 21609, f"The 'StatusCallback' URL {url} is not a valid URL.")


def page_size(query: Mapping[str, str]) -> int:
    """Return the page size of the list: 50, or 1 to 1,000 as requested."""
    asked = query.get("PageSize", "")
    return min(max(int(asked), 1), 1_000) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 50


def tag_and_attempt(form: dict[str, str], reference: str | None) -> tuple[str, int]:
    """Identify the message: by a header's reference, else `message` and `attempt` of the status callback's query, else
    number and text."""
    query = parse_qs(urlsplit(form.get("StatusCallback", "")).query)
    attempt = query.get("attempt", ["0"])[0]
    number = int(attempt) if attempt.isascii() and attempt.isdigit() and len(attempt) < 4 else 0
    tag = reference or query.get("message", [""])[0]
    return tag or f"{form['To']} {hash(form.get('Body', '')):x}", number


def signature(token: str, url: str, fields: Iterable[tuple[str, str]]) -> str:
    """X-Twilio-Signature: HMAC-SHA1 over the URL and the sorted fields, base64
    (https://www.twilio.com/docs/usage/security)."""
    text = url + "".join(name + value for name, value in sorted(fields))
    return base64.b64encode(hmac.digest(token.encode(), text.encode(), hashlib.sha1)).decode()
