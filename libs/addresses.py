"""Addresses in one canonical form, for storing, comparing, hashing and calling a provider.

Used by `tokens` (incoming addresses), `bounce` (addresses in reports) and `delivery` (addresses to call). Two
spellings of the same address have the same `canonical`, and so the same hash:

- e-mail: local part in NFC (RFC 6532; SMTPUTF8 unless it is ASCII), domain as A-labels (RFC 5891, UTS 46). Canonical
  also lower-cases the local part: no mailbox provider distinguishes `Max@` from `max@`, and reports lower-case it.
- phone: E.164. Canonical is the same.
- device: FCM registration token or Firebase installation id, unchanged.
- webhook: an https URL with a public host. The IPs behind its name are checked again before each call (`is_public`).

Invisible characters (zero-width, direction marks, soft hyphens, BOM) come in with copy and paste and are removed;
control characters are rejected.
"""

import ipaddress
import re
import socket
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit, urlunsplit

import idna
import phonenumbers

from libs.errors import Invalid
from libs.ids import AddressHasher
from libs.phones import may_be_foreign, read_number

PUSH_KINDS = ("fcm_token", "fid")

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb]"
)
_JOINERS = re.compile("[\u200c\u200d]")  # letters of Persian and Indic names need them; ASCII does not

_BLANKS = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")  # no-break and narrow spaces

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+"
_ATOM = re.compile(rf"{_ATEXT}(\.{_ATEXT})*")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~])*)"')
_LDH = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))+")
_TOKEN = re.compile(r"[!-~]{8,4096}")
_APNS_TOKEN = re.compile(r"[0-9A-Fa-f]{64}")  # the other token that iOS gives an app
_NO_TOKENS = frozenset(["undefined", "blacklisted", "service_not_available"])  # from apps and old phones without one
_FID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_WORDS_AFTER = re.compile(r"\d.*[^\W\d_]")
_PRIVATE_SUFFIXES = (
    "localhost",
    "local",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "home.arpa",
    "onion",
)

_MAX_EMAIL_OCTETS = 254  # RFC 5321 §4.5.3.1.3, less the angle brackets
_MAX_LOCAL_OCTETS = 64
_MAX_URL = 2_048
_MIN_E164 = 8  # with the plus; Niue's seven digits are the shortest numbers in use


class InvalidAddress(Invalid):
    """An address that no provider could send to."""

    slug = "invalid-address"
    title = "Not a usable address"


@dataclass(frozen=True, slots=True)
class Address:
    """`kind`: email, phone, fcm_token, fid or webhook. `value` for the provider, `canonical` for the hash."""

    kind: str
    value: str
    canonical: str

    def hash(self, hasher: AddressHasher) -> bytes:
        """Return the keyed hash (32 bytes) under which suppressions, history and audit store this address."""
        return hasher("device" if self.kind in PUSH_KINDS else self.kind, self.canonical)


def visible(text: str) -> str:
    """Return the text without invisible characters and surrounding white space."""
    if text.isascii():
        return text.strip()
    return _INVISIBLE.sub("", text).strip()


def email_address(text: str, pointer: str | None = None) -> Address:
    """Parse a mailbox (RFC 5321 and 6531). Raises InvalidAddress."""
    cleaned = visible(text)
    if len(cleaned) > 2 * _MAX_EMAIL_OCTETS:
        raise InvalidAddress("An e-mail address has at most 254 bytes; this one is longer.", pointer=pointer)
    local, at, domain = cleaned.rpartition("@")
    if not at or not local or not domain:
        raise InvalidAddress("An e-mail address has the form name@domain; give both parts.", pointer=pointer)
    local = _local_part(local, pointer)
    domain = _domain(domain, pointer)
    value = f"{local}@{domain}"
    if len(value.encode()) > _MAX_EMAIL_OCTETS:
        raise InvalidAddress("An e-mail address has at most 254 bytes; this one is longer.", pointer=pointer)
    return Address("email", value, f"{local.lower()}@{domain}")


def phone_number(text: str, region: str | None, pointer: str | None = None) -> Address:
    """Return the E.164 form of a number as people write it. `region` (ISO 3166, `DE`) is for numbers without a country
    code."""
    cleaned = _BLANKS.sub(" ", _JOINERS.sub("", visible(text)))
    if len(cleaned) > 60 or _has_control(cleaned):
        raise InvalidAddress("This is not a phone number; send it like +49 151 23456789.", pointer=pointer)
    try:
        number = read_number(cleaned, region)
    except phonenumbers.NumberParseException as error:
        hint = "start it with + and the country code" if not cleaned.startswith("+") else "check its digits"
        raise InvalidAddress(
            f"This is not a phone number ({_phone_problem(error)}); {hint}.", pointer=pointer
        ) from error
    if cleaned.lower() != cleaned.upper() and not number.extension and _WORDS_AFTER.search(cleaned):
        raise InvalidAddress("Letters would be read as digits; send the number alone.", pointer=pointer)
    if number.extension:
        raise InvalidAddress(
            "A number with an extension cannot receive messages; send the direct number.", pointer=pointer
        )
    value = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    # some numbering plans allow two digits, for extensions and services that cannot receive messages
    possible = phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE
    if not possible or len(value) < _MIN_E164:
        raise InvalidAddress(
            f"+{number.country_code} has no numbers of this length; send the complete number, like +49 151 23456789.",
            pointer=pointer,
        )
    if may_be_foreign(cleaned, number):
        raise InvalidAddress(
            "This reads like a number of another country without its +; start it with + and the country code.",
            pointer=pointer,
        )
    return Address("phone", value, value)


def device_token(kind: str, text: str, pointer: str | None = None) -> Address:
    """Parse an FCM registration token or a Firebase installation id. Raises InvalidAddress."""
    cleaned = visible(text)
    if kind == "fcm_token" and (_APNS_TOKEN.fullmatch(cleaned) or cleaned.strip("()").lower() in _NO_TOKENS):
        said = "This is not a Firebase token (but an APNs token, or a placeholder)"
        raise InvalidAddress(f"{said}; send the one that Firebase Messaging gives the app.", pointer=pointer)
    if kind == "fcm_token" and _TOKEN.fullmatch(cleaned):
        return Address(kind, cleaned, cleaned)
    if kind == "fid" and _FID.fullmatch(cleaned):
        return Address(kind, cleaned, cleaned)
    if kind not in PUSH_KINDS:
        raise InvalidAddress("A device's kind must be fcm_token or fid.", pointer=pointer)
    needed = "8 to 4,096 ASCII characters without spaces" if kind == "fcm_token" else "8 to 64 letters, digits, - or _"
    raise InvalidAddress(f"A device's {kind} has {needed}; send it as Firebase issued it.", pointer=pointer)


def webhook_url(text: str, *, allow_private: bool = False, pointer: str | None = None) -> Address:
    """Parse an https URL with a public host; `allow_private` also permits http and private hosts (intranets)."""
    cleaned = visible(text)
    if len(cleaned) > _MAX_URL:
        raise InvalidAddress(f"A URL may have at most {_MAX_URL:,} characters; shorten it.", pointer=pointer)
    if _has_control(cleaned) or any(c in cleaned for c in ' \\<>"^`{|}'):
        raise InvalidAddress("The URL contains spaces or characters that must be percent-encoded.", pointer=pointer)
    parts, host = _split_url(cleaned, pointer)
    if parts.scheme not in (("https", "http") if allow_private else ("https",)):
        raise InvalidAddress("A webhook's URL must start with https://.", pointer=pointer)
    if parts.username is not None or parts.password is not None:
        raise InvalidAddress("A URL must not carry a user or password; they would be logged.", pointer=pointer)
    host, address = _host(host, allow_private, pointer)
    if not allow_private and (_inner(host) if address is None else not is_public(address)):
        raise InvalidAddress("The URL points to a private or loopback address; use a public host.", pointer=pointer)
    authority = f"[{host}]" if ":" in host else host
    port = parts.port
    if port is not None and port != {"https": 443, "http": 80}[parts.scheme]:
        authority = f"{authority}:{port}"
    value = urlunsplit((parts.scheme, authority, parts.path or "/", parts.query, ""))
    return Address("webhook", value, value)


def is_public(ip: str) -> bool:
    """Whether an IP (v4, v6, or v4 embedded in v6) is reachable from the public internet.

    Check the resolved address immediately before connecting: a name that was public when it was stored may point to
    169.254.169.254 today."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        hidden = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if hidden is None and address in _NAT64:
            hidden = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if hidden is not None:
            return is_public(str(hidden))
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _local_part(local: str, pointer: str | None) -> str:
    if not local.isascii():
        joined = _JOINERS.sub("", local)
        local = joined if joined.isascii() else unicodedata.normalize("NFC", local)
    if quoted := _QUOTED.fullmatch(local):
        plain = re.sub(r"\\(.)", r"\1", quoted[1])
        local = plain if _ATOM.fullmatch(plain) else local
    elif not _ATOM.fullmatch(local):
        raise InvalidAddress(
            "The part before the @ contains characters or dots that are not allowed there.", pointer=pointer
        )
    if not local.isascii() and any(
        unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn", "Zs", "Zl", "Zp") for c in local if c > "\x7f"
    ):
        raise InvalidAddress("The part before the @ contains a character that mail cannot carry.", pointer=pointer)
    if len(local.encode()) > _MAX_LOCAL_OCTETS:
        raise InvalidAddress("The part before the @ has at most 64 bytes; this one is longer.", pointer=pointer)
    return local


@lru_cache(maxsize=4_096)  # most addresses share a few domains
def _domain(domain: str, pointer: str | None) -> str:
    folded = domain.lower().removesuffix(".")
    if not folded.isascii() or "xn--" in folded:
        try:
            folded = idna.encode(folded, uts46=True, std3_rules=True).decode()
        except (idna.IDNAError, UnicodeError) as error:
            raise InvalidAddress(f"The domain is not a valid name: {error}.", pointer=pointer) from error
    if folded.startswith("["):
        raise InvalidAddress("An IP address is not accepted as the domain; use its name.", pointer=pointer)
    if not _LDH.fullmatch(folded) or len(folded) > 253 or folded.rpartition(".")[2].isdigit():
        raise InvalidAddress("The domain is not a name like example.com; check the part after the @.", pointer=pointer)
    return folded


def _split_url(text: str, pointer: str | None) -> tuple[SplitResult, str]:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidAddress(f"This URL cannot be called: {error}.", pointer=pointer) from error
    if not host or port == 0 or ("[" in parts.netloc and ":" not in host):
        raise InvalidAddress("This URL cannot be called; send one like https://example.com/hook.", pointer=pointer)
    return parts, host


def _host(host: str, allow_private: bool, pointer: str | None) -> tuple[str, str | None]:
    """Return the host as it will be called, and its IP if it is one, in any spelling that resolvers accept."""
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host)), host
        except ValueError as error:
            raise InvalidAddress("The URL's host is not an IPv6 address.", pointer=pointer) from error
    folded = unicodedata.normalize("NFKC", host).lower().removesuffix(".")
    if re.fullmatch(r"(0x[0-9a-f]*|[0-9]+)", folded.rpartition(".")[2]):
        try:
            # resolvers read 127.1, 0x7f000001 and 2130706433 as loopback, so parse them the same way
            address = socket.inet_ntoa(socket.inet_aton(folded))
        except OSError as error:
            raise InvalidAddress("The URL's host is not an IPv4 address.", pointer=pointer) from error
        return address, address
    if "." not in folded and folded.isascii() and re.fullmatch(r"[a-z0-9-]{1,63}", folded):
        return folded, None
    return _domain(folded, pointer), None


def _inner(host: str) -> bool:
    return "." not in host or any(host == suffix or host.endswith("." + suffix) for suffix in _PRIVATE_SUFFIXES)


def _has_control(text: str) -> bool:
    return any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def _phone_problem(error: phonenumbers.NumberParseException) -> str:
    return {
        phonenumbers.NumberParseException.INVALID_COUNTRY_CODE: "its country code is missing or unknown",
        phonenumbers.NumberParseException.TOO_LONG: "it is too long",
        phonenumbers.NumberParseException.TOO_SHORT_NSN: "it is too short",
        phonenumbers.NumberParseException.TOO_SHORT_AFTER_IDD: "it is too short",
    }.get(error.error_type, "it cannot be parsed")
