"""Which addresses of a recipient a step of the plan reaches: consent first, then the first usable channel or all."""

from collections.abc import Sequence
from typing import Any, TypedDict

import msgspec

from libs.contracts.reasons import Reason
from services.delivery.domain.releases import PlannedChannel, Release


class Address(TypedDict):
    """Where a recipient can be reached, as `tokens` resolves it."""

    id: int
    channel: str
    kind: str
    value: str
    hash: str  # base64
    locale: str | None


class Recipient(TypedDict):
    """A recipient as `tokens` resolves it."""

    id: int
    first_name: str | None
    last_name: str | None
    locale: str | None
    zone: str | None
    attributes: dict[str, Any]
    quiet_hours: dict[str, str] | None
    consents: dict[str, bool]
    addresses: list[Address]


class Target(msgspec.Struct, frozen=True, gc=False):
    """One address, by one channel of the plan."""

    planned: PlannedChannel
    address: Address


class Choice(msgspec.Struct, frozen=True, gc=False):
    """The step to take and its targets; without targets, the reason."""

    step: int
    targets: Sequence[Target]
    reason: Reason = Reason.NONE


def choose(release: Release, recipient: Recipient, first_step: int) -> Choice:
    """Return the first step, from `first_step` on, that reaches any address."""
    barred = False
    for number in range(first_step, len(release.plan)):
        step = release.plan[number]
        targets: list[Target] = []
        for planned in step.channels:
            found = reached(planned, recipient)
            if found and not consents(release, planned, recipient):
                barred = True
                continue
            targets += found
            if found and not step.all:
                break
        if targets:
            return Choice(number, once_each(targets))
    return Choice(first_step, (), Reason.NO_CONSENT if barred else Reason.NO_ADDRESS)


def reached(planned: PlannedChannel, recipient: Recipient) -> list[Target]:
    """Return the recipient's addresses on a channel."""
    word = planned.channel.word
    return [Target(planned, address) for address in recipient["addresses"] if address["channel"] == word]


def consents(release: Release, planned: PlannedChannel, recipient: Recipient) -> bool:
    """Marketing needs a recorded yes for topic and channel; transactional needs none."""
    return not release.marketing or recipient["consents"].get(planned.channel.word) is True


def once_each(targets: Sequence[Target]) -> Sequence[Target]:
    """Return each address once, by its first channel, even if a step names a channel twice."""
    if len(targets) == 1:
        return targets
    return list({target.address["id"]: target for target in reversed(targets)}.values())[::-1]
