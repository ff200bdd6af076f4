"""Quiet hours: when it is night for a recipient, and when that ends."""

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def quiet_until(hours: Mapping[str, Any] | None, now: datetime) -> datetime | None:
    """Return when the quiet hours around `now` end (UTC); None outside of them.

    `hours`: {"from": "22:00", "to": "07:00", "zone": "Europe/Berlin"}, local wall-clock times; over midnight if
    `from` is later than `to`, never if they are equal. The end is a wall-clock time too, so a night in which the
    clock changes is an hour shorter or longer."""
    if not hours:
        return None
    start, end, zone = _time(hours["from"]), _time(hours["to"]), _zone(hours.get("zone") or "UTC")
    if start == end:
        return None
    local = now.astimezone(zone)
    clock = local.time().replace(tzinfo=None)
    inside = start <= clock < end if start < end else clock >= start or clock < end
    if not inside:
        return None
    day = local.date() if clock < end else local.date() + timedelta(days=1)
    until = datetime.combine(day, end, zone)
    if until.astimezone(UTC) <= now:  # an hour that occurs twice: the first of its ends is over
        until = until.replace(fold=1)
    return until.astimezone(UTC)


def in_tenants_zone(hours: Mapping[str, Any] | None, tenants_zone: str | None) -> Mapping[str, Any] | None:
    """Return quiet hours in the tenant's zone if neither they nor the recipient have one (`zone_from`: "default").

    UTC is the zone of tenants that set none; then the default of `tokens` is the better guess."""
    if hours and hours.get("zone_from") == "default" and tenants_zone not in (None, "UTC"):
        return {**hours, "zone": tenants_zone}
    return hours


@lru_cache(maxsize=2048)
def _time(text: str) -> time:
    return time.fromisoformat(text).replace(tzinfo=None)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")
