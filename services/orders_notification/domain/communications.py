"""Communications: the definition that people write, its validation, and the bundle that publishing freezes. Pure."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from libs import exact_json
from libs.contracts.outcomes import ASKABLE, Channel, OnUnknown
from libs.errors import FieldError, Invalid
from libs.expressions import Context, Expression, compile_expression
from libs.near import did_you_mean
from libs.rendering.checks import optional_variables
from libs.rendering.locales import fallbacks, locale_chain
from libs.rendering.schema import unknown_path
from services.orders_notification.domain.releases import EVENT_VARIABLES

NAME = r"^[a-z0-9][a-z0-9._-]{0,99}$"
MARKETING = "marketing"


@dataclass(frozen=True, slots=True)
class ChannelUse:
    """One channel of a step: the template that renders it; `sender` None: the tenant's default for the channel."""

    channel: str
    template: str
    sender: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the plan: all of its channels, or the first on which the recipient can be reached."""

    mode: str  # all | first
    channels: tuple[ChannelUse, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition as people edit it. The next step begins when every message of one has definitely failed."""

    trigger: str
    plan: tuple[Step, ...]
    category: str
    description: str = ""
    condition: str | None = None
    recipient: str | None = None
    topic: str | None = None
    lane: str | None = None
    on_unknown: str = "leave"
    expiry_seconds: int = 86_400
    quiet_hours: str | None = None

    @property
    def effective_lane(self) -> str:
        return self.lane or ("bulk" if self.category == MARKETING else "transactional")

    @property
    def effective_quiet_hours(self) -> str:
        return self.quiet_hours or ("obey" if self.category == MARKETING else "ignore")

    def templates(self) -> list[str]:
        """The names of the plan's templates, without repeats."""
        return sorted({use.template for step in self.plan for use in step.channels})

    def senders(self) -> list[int]:
        """The numbers of the senders that the plan names, without repeats; a channel's default is not included."""
        return sorted({use.sender for step in self.plan for use in step.channels if use.sender is not None})


@dataclass(frozen=True, slots=True)
class Communication:
    """A draft and the state of its releases."""

    name: str
    definition: Definition
    version: int
    release_id: UUID | None
    released: int | None
    released_draft: int | None
    retired_at: datetime | None
    changed_at: datetime

    @property
    def state(self) -> str:
        """draft, published, changed (edited since), or retired."""
        if self.released is None:
            return "draft"
        if self.release_id is None:
            return "retired"
        return "published" if self.released_draft == self.version else "changed"


@dataclass(frozen=True, slots=True)
class Release:
    """A published version; never changed."""

    id: UUID
    communication: str
    version: int
    digest: bytes
    bundle: Mapping[str, Any]
    published_at: datetime
    published_by: str


@dataclass(frozen=True, slots=True)
class ReleaseHead:
    """A release without its bundle."""

    id: UUID
    version: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What publishing found in the other services: templates and topics by name, the tenant's default locale
    and zone, the channel of each sender by number."""

    templates: Mapping[str, Mapping[str, Any]]
    topics: Mapping[str, Mapping[str, Any]]
    default_locale: str
    default_zone: str
    schema: Mapping[str, Any] | None  # of the event type
    senders: Mapping[int, str] = field(default_factory=dict)
    near_topics: Mapping[str, Sequence[str]] = field(default_factory=dict)  # of a name that is no topic


def definition_of(stored: Mapping[str, Any]) -> Definition:
    """Return the definition that `plain` stored."""
    steps = tuple(Step(step["mode"], tuple(ChannelUse(**use) for use in step["channels"])) for step in stored["plan"])
    return Definition(**{**stored, "plan": steps})


def plain(definition: Definition) -> dict[str, Any]:
    """Return the definition as JSON."""
    return asdict(definition)


def problems_of_expressions(definition: Definition, schema: Mapping[str, Any] | None) -> Iterator[FieldError]:
    """Yield conditions and recipient expressions that do not compile, or read fields that the schema lacks."""
    for pointer, text in (("/condition", definition.condition), ("/recipient", definition.recipient)):
        if text is None:
            continue
        try:
            expression = compile_expression(text, variables=EVENT_VARIABLES, pointer=pointer)
        except Invalid as error:
            yield from error.errors
            continue
        for path in expression.paths:
            if problem := unknown_path(path, schema):
                yield FieldError(pointer, problem)
        if pointer == "/condition" and not expression.paths:
            yield from _problems_of_constant(expression)


def _problems_of_constant(condition: Expression) -> Iterator[FieldError]:
    """A condition without variables has the same result for every event: if it is not boolean, it never will be."""
    try:
        if not isinstance(condition.evaluate(Context({})), bool):
            yield FieldError(condition.pointer, "The condition is neither true nor false; compare with something.")
    except Invalid as error:
        yield from error.errors


def problems_of_topic(definition: Definition, around: Surroundings) -> Iterator[FieldError]:
    """Marketing needs a topic that exists, is active and belongs to marketing."""
    if definition.topic is None:
        if definition.category == MARKETING:
            yield FieldError("/topic", "Marketing needs a topic that customers can subscribe to and leave.")
        return
    topic = around.topics.get(definition.topic)
    if topic is None:
        meant = did_you_mean(around.near_topics.get(definition.topic, ()))
        detail = f"There is no topic {definition.topic!r}.{meant} `depesche topics list` shows the names."
        yield FieldError("/topic", detail)
    elif not topic["active"]:
        yield FieldError("/topic", f"The topic {definition.topic!r} is inactive.")
    elif topic["category"] != definition.category:
        yield FieldError("/topic", f"The topic {definition.topic!r} is {topic['category']}, not {definition.category}.")


def problems_of_plan(definition: Definition, around: Surroundings) -> Iterator[FieldError]:
    """Yield missing templates and senders, those of another channel, and templates without the default locale."""
    for number, step in enumerate(definition.plan):
        for place, use in enumerate(step.channels):
            pointer = f"/plan/{number}/channels/{place}"
            if problem := _problem_of_template(use, around):
                yield FieldError(f"{pointer}/template", problem)
            if problem := _problem_of_sender(use, around.senders):
                yield FieldError(f"{pointer}/sender", problem)


def _problem_of_template(use: ChannelUse, around: Surroundings) -> str | None:
    template = around.templates.get(use.template)
    if template is None:
        return f"There is no published template {use.template!r}; publish it first, or correct the name."
    if template["channel"] != use.channel:
        return f"{use.template!r} is a template for {template['channel']}."
    if not locale_chain(around.default_locale, template["locales"], around.default_locale):
        return (
            f"{use.template!r} has no text in {around.default_locale!r}, the tenant's default locale; "
            "customers with other locales would get none."
        )
    return None


def _problem_of_sender(use: ChannelUse, senders: Mapping[int, str]) -> str | None:
    if use.sender is None:
        return None  # the channel's default: the tenant's first sender; until there is one, the simulator
    channel = senders.get(use.sender)
    if channel is None:
        return (
            f"There is no sender {use.sender} in this tenant and mode; set it up, or leave `sender` out for the "
            "channel's default (`depesche senders list` shows the senders)."
        )
    return None if channel == use.channel else f"Sender {use.sender} is for {channel}."


def notices_of(bundle: Mapping[str, Any]) -> list[str]:
    """Return sentences on where sending a release differs from what one might expect."""
    if OnUnknown.parse(bundle["on_unknown"]) is not OnUnknown.VERIFY:
        return []
    planned = dict.fromkeys(use["channel"] for step in bundle["plan"] for use in step["channels"])
    silent = [word for word in planned if Channel.parse(word) not in ASKABLE]
    if not silent:
        return []
    return [
        f"on_unknown is verify, but by {' and '.join(silent)} no provider can be asked what became of a message: there "
        "an unknown message stays unknown, as with leave. If a loss is worse than a duplicate, use resend."
    ]


def bundle_of(communication: Communication, around: Surroundings, owner: tuple[int, str]) -> dict[str, Any]:
    """Return all that delivery needs to send it, without id and version."""
    definition = communication.definition
    tenant, mode = owner
    return {
        "communication": communication.name,
        "tenant": tenant,
        "mode": mode,
        "category": definition.category,
        "topic": definition.topic,
        "lane": definition.effective_lane,
        "on_unknown": definition.on_unknown,
        "expiry_seconds": definition.expiry_seconds,
        "quiet_hours": definition.effective_quiet_hours,
        "default_locale": around.default_locale,
        "default_zone": around.default_zone,
        "plan": plain(definition)["plan"],
        "templates": {name: _bundled(around.templates[name], around) for name in definition.templates()},
    }


def _bundled(template: Mapping[str, Any], around: Surroundings) -> dict[str, Any]:
    locales = template["locales"]
    return {
        "channel": template["channel"],
        "version": template["version"],
        "locales": locales,
        "fallbacks": fallbacks(locales, around.default_locale),
        # the event's schema allows these to be absent: they render as nothing instead of failing
        "optional": optional_variables(template["channel"], locales, around.schema),
    }


def digest_of(definition: Definition, bundle: Mapping[str, Any]) -> bytes:
    """Hash what a release says and when, in 32 bytes."""
    when = [definition.trigger, definition.condition, definition.recipient]
    return hashlib.sha256(exact_json.dumps([when, _sorted(bundle)])).digest()


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value


def outdated(bundle: Mapping[str, Any], latest: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """Return the templates of a release that have a newer published version."""
    return sorted(
        name
        for name, used in bundle["templates"].items()
        if name in latest and latest[name]["version"] > used["version"]
    )
