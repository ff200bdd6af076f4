"""A source: a shop's webhook and its verification, or a topic; and how deliveries become events.

Expressions are CEL with three variables: `body` (exact JSON, or a form's fields), `headers` (lower-case names) and
`query`. `types` translates the result of the `type` expression, so that the list of types can be read at a glance. For
a topic's message, `headers` also has the broker's own fields (Kafka's `__key`, `__offset`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from libs.errors import FieldError, Invalid
from libs.expressions import Expression, Needs, compile_expression, needed
from libs.messaging.bus import Topic
from services.orders_notification.domain.cloudevents import problem_of_source
from services.orders_notification.domain.public_keys import public_key
from services.orders_notification.domain.signatures import Scheme, Verification, hmac_key, signing_key
from services.orders_notification.domain.signed_content import problem_of_signed

VARIABLES = frozenset({"body", "headers", "query"})
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
MAX_DATA_DEPTH = 10
MAX_DATA_ENTRIES = 500

# The fields of each scheme; any other field in its definition is a typing mistake.
FIELDS: dict[Scheme, frozenset[str]] = {
    Scheme.HMAC_HEX: frozenset({"header", "field", "query", "prefix", "algorithm", "signed", "key"}),
    Scheme.HMAC_BASE64: frozenset({"header", "field", "query", "prefix", "algorithm", "signed", "key"}),
    Scheme.TIMESTAMPED: frozenset(
        {"header", "prefix", "algorithm", "tolerance_seconds", "encoding", "timestamp_header", "signed", "key"}
    ),
    Scheme.STANDARD_WEBHOOKS: frozenset({"tolerance_seconds"}),
    Scheme.PUBLIC_KEY: frozenset(
        {"header", "prefix", "algorithm", "tolerance_seconds", "encoding", "timestamp_header", "signed"}
    ),
    Scheme.TOKEN: frozenset({"header", "prefix", "query"}),
    Scheme.BASIC: frozenset(),
}
_NEEDS_HEADER = frozenset({Scheme.HMAC_HEX, Scheme.HMAC_BASE64, Scheme.TIMESTAMPED, Scheme.PUBLIC_KEY})

DataMapping = Expression | Mapping[str, Any] | None  # an expression, a tree of them, or the whole body


@dataclass(frozen=True, slots=True)
class EventMapping:
    """The compiled mapping of a source. `needs`: what its expressions read together."""

    type: Expression
    id: Expression
    needs: Needs
    types: Mapping[str, str]
    subject: Expression | None = None
    time: Expression | None = None
    recipient: Expression | None = None
    data: DataMapping = None
    filter: Expression | None = None  # false: drop this delivery


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope that a queue wraps around the payload: where the payload is, and how it is encoded."""

    payload: Expression
    encoding: str  # base64 (Pub/Sub), json (a JSON text in a string: SNS), none (an object)


@dataclass(frozen=True, slots=True)
class Source:
    """A compiled source. `handshake` answers a sender's first call, which may be unsigned, and does nothing else."""

    name: str
    version: int
    verification: Verification | None  # None: its deliveries come from a topic
    mapping: EventMapping | None  # None: the topic's messages are CloudEvents
    event_source: str  # the CloudEvents `source` of its events
    topic: Topic | None = None
    handshake: Expression | None = None
    unwrap: tuple["Envelope", ...] = ()  # outermost first
    answer: Any = None  # to a delivery: a text or JSON; None: our own


def source(name: str, version: int, definition: Mapping[str, Any]) -> Source:
    """Compile a stored or given definition (the shape of api.sources.Definition). Raises Invalid with all errors."""
    collected = _Collector()
    signed, given, heard = (definition.get(part) for part in ("verification", "mapping", "topic"))
    collected.errors += _parts(signed, given, heard)
    verification = _verification(signed, collected) if signed else None
    mapping = _mapping(given, collected) if given else None
    handshake = collected.expression(definition.get("handshake"), "/handshake")
    unwrap = collected.envelopes(definition.get("unwrap") or ())
    for part in ("handshake", "answer") if heard else ():
        if definition.get(part) is not None:
            collected.errors.append(FieldError(f"/{part}", f"A topic has no {part}; leave it out."))
    if collected.errors:
        raise Invalid.many(collected.errors)
    return Source(
        name=name,
        version=version,
        verification=verification,
        mapping=mapping,
        topic=Topic(heard["component"], heard["name"]) if heard else None,
        event_source=definition.get("event_source") or f"/sources/{name}",
        handshake=handshake,
        unwrap=unwrap,
        answer=definition.get("answer"),
    )


def check_handshake(handshake: Expression | None) -> None:
    """Raise Invalid for one that answers every delivery: none would become an event, and its sender would be content.

    Only where a definition is given: one that is stored already must not stop the others of its name.
    """
    if handshake is not None and not handshake.paths:
        raise Invalid(
            "This answers every delivery, so none becomes an event; test the first call's body, query or headers.",
            pointer="/handshake",
        )


def check_event_source(event_source: str) -> None:
    """Raise Invalid for one that no event can have: every delivery would be stored as unreadable."""
    if problem := problem_of_source(event_source):
        raise Invalid(problem, pointer="/event_source")


def check_secrets(verification: Verification | None, secrets: list[str]) -> None:
    """Raise Invalid naming each secret that this scheme cannot use, or if there is none."""
    if verification is None:
        if secrets:
            raise Invalid("A topic's credentials are in Dapr's component; leave them out here.", pointer="/secrets")
        return
    if not secrets:
        raise Invalid(
            "A source needs at least one secret; the shop shows it or lets you choose it.", pointer="/secrets"
        )
    errors = [
        FieldError(f"/secrets/{index}", problem)
        for index, secret in enumerate(secrets)
        if (problem := _problem_of_secret(verification, secret))
    ]
    if errors:
        raise Invalid.many(errors)


def _problem_of_secret(verification: Verification, secret: str) -> str | None:
    try:
        match verification.scheme:
            case Scheme.STANDARD_WEBHOOKS:
                signing_key(secret)
            case Scheme.PUBLIC_KEY:
                public_key(secret)
            case Scheme.BASIC if ":" not in secret:
                return "A secret for Basic authentication is user:password."
            case Scheme.HMAC_HEX | Scheme.HMAC_BASE64 | Scheme.TIMESTAMPED:
                hmac_key(secret, verification.key)
    except ValueError:
        return _WRITTEN.get(verification.scheme, f"This secret is not encoded as {verification.key}, as `key` says.")
    return None


_WRITTEN = {
    Scheme.STANDARD_WEBHOOKS: "A Standard Webhooks secret is whsec_ and base64, or whpk_ and the sender's public key.",
    Scheme.PUBLIC_KEY: "This is not a public key: give the base64 between BEGIN PUBLIC KEY and END on one line, or the "
    "32 bytes of Ed25519 in hex.",
}


class _Collector:
    """Compiles expressions and collects the errors of all."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def expression(self, text: Any, pointer: str) -> Expression | None:
        if text is None:
            return None
        if not isinstance(text, str) or not text.strip():
            self.errors.append(FieldError(pointer, "This is not an expression: write CEL as a string."))
            return None
        try:
            return compile_expression(text, variables=VARIABLES, pointer=pointer)
        except Invalid as error:
            self.errors.extend(error.errors)
            return None

    def envelopes(self, given: Iterable[Mapping[str, Any]]) -> tuple[Envelope, ...]:
        made = []
        for index, item in enumerate(given):
            payload = self.expression(item.get("payload"), f"/unwrap/{index}/payload")
            if payload is not None:
                made.append(Envelope(payload, item.get("encoding") or "none"))
        return tuple(made)

    def data(self, value: Any, pointer: str, depth: int = 0) -> DataMapping:
        if not isinstance(value, dict):
            return self.expression(value, pointer)
        if depth == MAX_DATA_DEPTH or len(value) > MAX_DATA_ENTRIES:
            self.errors.append(FieldError(pointer, "The data mapping is too deep or too wide; simplify it."))
            return None
        return {name: self.data(inner, f"{pointer}/{name}", depth + 1) for name, inner in value.items()}


def _parts(signed: Any, mapping: Any, heard: Any) -> list[FieldError]:
    """Return what a definition lacks, or has too much."""
    if signed and heard:
        return [FieldError("/topic", "A source is either a signed webhook or a topic: give verification or topic.")]
    if not signed and not heard:
        return [FieldError("/verification", "A source needs a verification (for a webhook) or a topic.")]
    if signed and not mapping:
        return [FieldError("/mapping", "A webhook's source needs a mapping.")]
    return []


def _verification(given: Mapping[str, Any], collected: _Collector) -> Verification:
    scheme = Scheme(given["scheme"])
    values = {name: value for name, value in given.items() if name != "scheme" and value is not None}
    for name in values.keys() - FIELDS[scheme]:
        collected.errors.append(
            FieldError(f"/verification/{name}", f"The scheme {scheme.value} has no {name}; leave it out.")
        )
    if scheme in _NEEDS_HEADER and sum(bool(values.get(place)) for place in ("header", "field", "query")) != 1:
        told = "Name the one place of the signature: a header, or a field or query parameter if the scheme has it."
        collected.errors.append(FieldError("/verification/header", told))
    if "signed" in values and (problem := problem_of_signed(values["signed"])):
        collected.errors.append(FieldError("/verification/signed", problem))
    for name in ("header", "timestamp_header"):
        if name in values:
            values[name] = values[name].lower()
    return Verification(scheme, **{name: value for name, value in values.items() if name in FIELDS[scheme]})


def _mapping(given: Mapping[str, Any], collected: _Collector) -> EventMapping | None:
    type_ = collected.expression(given.get("type"), "/mapping/type")
    id_ = collected.expression(given.get("id"), "/mapping/id")
    optional = {
        name: collected.expression(given.get(name), f"/mapping/{name}")
        for name in ("subject", "time", "recipient", "filter")
    }
    data = collected.data(given["data"], "/mapping/data") if given.get("data") is not None else None
    if type_ is None or id_ is None:
        return None
    needs = needed(_expressions([type_, id_, *optional.values(), data]))
    return EventMapping(type=type_, id=id_, needs=needs, types=given.get("types") or {}, data=data, **optional)


def _expressions(mappings: Iterable[DataMapping]) -> Iterator[Expression]:
    for mapping in mappings:
        if isinstance(mapping, Mapping):
            yield from _expressions(mapping.values())
        elif mapping is not None:
            yield mapping
