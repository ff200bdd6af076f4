"""Which sender each message uses, and who waits because the sender is paused or not configured."""

from collections import defaultdict
from datetime import datetime, timedelta

from libs.contracts.outcomes import Channel, Mode, Status
from libs.contracts.reasons import Reason
from libs.telemetry import get_logger
from services.delivery.domain.breaker import State
from services.delivery.domain.work import Message, Prepared
from services.delivery.handlers.delivery import Line

log = get_logger(__name__)

_PROBES = 10  # recipients to probe a paused sender with
_RETRY_SECONDS = 30.0

Key = tuple[int, Mode, Channel, int]


async def route(line: Line, prepared: Prepared, monotonic: float) -> None:
    """Give each message its sender; recipients without a working one are put off as a whole."""
    wanted: dict[Key, list[Message]] = defaultdict(list)
    for message in prepared.messages:
        if message.status is Status.SENDING:
            assert message.channel is not None
            request = message.row.request
            wanted[request.tenant, request.mode, message.channel, message.sender].append(message)
    senders = await line.senders.get(wanted.keys()) if wanted else {}
    now = line.clock()
    for key, messages in wanted.items():
        if (sender := senders.get(key)) is None:
            log.error("sender_missing", tenant=key[0], mode=key[1].word, channel=key[2].word, sender=key[3])
            prepared.put_off(messages, _later(line, now, _RETRY_SECONDS), Reason.SENDER_MISCONFIGURED)
            continue
        for message in messages:
            message.via, message.sender = sender, sender.number
        _obey_breaker(line, prepared, messages, (now, monotonic))


def _obey_breaker(line: Line, prepared: Prepared, messages: list[Message], moment: tuple[datetime, float]) -> None:
    now, monotonic = moment
    request = messages[0].row.request
    breaker = line.breakers.of(request.tenant, int(request.mode), messages[0].sender)
    half_open = breaker.state(monotonic) is State.HALF_OPEN
    if not breaker.allows(monotonic):
        prepared.put_off(messages, _later(line, now, breaker.opens_in(monotonic)), Reason.BREAKER_OPEN)
    elif half_open:
        prepared.put_off(messages[_PROBES:], _later(line, now, 1.0), Reason.BREAKER_OPEN)


def _later(line: Line, now: datetime, seconds: float) -> datetime:
    """Return the time with jitter of up to a half, so that a paused sender is not overrun the moment it works again."""
    return now + timedelta(seconds=max(0.2, seconds) * (1 + line.draw() / 2))
