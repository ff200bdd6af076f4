"""Everything that the suite still knows about one recipient, for a request for access (GDPR, article 15)."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from cli.api import Api, at
from cli.errors import CliError
from cli.exits import Exit

_MASK = "•••"
_TEXTS_AT_ONCE = 500
_AUDIT_WINDOW = timedelta(days=366)  # the longest period that one search may cover
_AUDIT_YEARS = 10


def collected(api: Api, key: str, now: datetime) -> dict[str, Any]:
    """Return one document: `recipient` (None if tokens does not know it), `consents`, `events`, `timeline`, `texts`
    (by message id), `bounces`, `suppressions` and `audit`, each list newest first.

    Raises CliError if the key sees masked data only, if nothing is known, or if a part cannot be read now: a file that
    lacks a part without saying so would be a wrong answer.
    """
    recipient = at("/tokens/v1/recipients", key, slashes=True)
    known = _if_known(api, recipient)
    found = {
        "recipient": known,
        "consents": list(api.items(f"{recipient}/consents")) if known else [],
        "events": list(_events(api, key)),
        "timeline": list(_timeline(api, key)),
        "bounces": list(api.items("/bounce/v1/bounces", recipient=key)),
        "suppressions": list(api.items("/bounce/v1/suppressions", recipient=key)),
        "audit": list(_audit(api, key, now)),
    }
    if not any(found.values()):
        raise CliError(f"Nothing is known about {key}.", exit_code=Exit.NOT_FOUND)
    found["texts"] = _texts(api, found["timeline"])
    _refuse_masked(found)
    return {"key": key, "exported_at": now.isoformat(), **found}


def counts(document: dict[str, Any]) -> dict[str, int]:
    """Return how many entries each list of a document has."""
    return {name: len(part) for name, part in document.items() if isinstance(part, list)}


def _if_known(api: Api, path: str) -> Any:
    answer = api.fetch(path)
    return answer.body if answer else None


def _events(api: Api, key: str) -> Iterator[dict[str, Any]]:
    """Yield events with their data, and the decisions about this recipient alone. `names_others` marks an event that
    was also decided for other recipients, so that its data may be about them."""
    for head in api.items("/orders-notification/v1/events", recipient=key):
        event = _if_known(api, at("/orders-notification/v1/events", head["id"])) or head  # its day may just have ended
        decisions = event.get("decisions", [])
        own = [decision for decision in decisions if decision["recipient"] == key]
        yield {**event, "decisions": own, "names_others": len(own) < len(decisions)}


def _timeline(api: Api, key: str) -> Iterator[Any]:
    cursor: str | None = None
    while True:
        page = api.get("/history/v1/timeline", recipient=key, limit=1000, cursor=cursor)
        if not page["complete"]:
            raise CliError(
                "History's store of events does not answer, so that the export would lack decisions.",
                exit_code=Exit.UNREACHABLE,
                hint="Nothing was written. Try again when `depesche doctor` finds the store well.",
            )
        yield from page["items"]
        if not (cursor := page["next_cursor"]):
            return


def _audit(api: Api, key: str, now: datetime) -> Iterator[Any]:
    for year in range(_AUDIT_YEARS):
        end = now + timedelta(minutes=1) - year * _AUDIT_WINDOW
        window: dict[str, Any] = {"from": (end - _AUDIT_WINDOW).isoformat(), "to": end.isoformat()}
        yield from api.items("/history/v1/audit", recipient=key, **window)


def _texts(api: Api, timeline: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what each message said, rendered again; `why` where its variables are no longer kept."""
    ids = list(dict.fromkeys(entry["message"] for entry in timeline if entry.get("message")))
    texts: dict[str, Any] = {}
    for start in range(0, len(ids), _TEXTS_AT_ONCE):
        asked = {"ids": ids[start : start + _TEXTS_AT_ONCE]}
        texts |= api.post("/delivery/v1/messages:render", asked)["messages"]
    return texts


def _refuse_masked(found: dict[str, Any]) -> None:
    texts_hidden = any(text["digest"] == "equal" and text["parts"] is None for text in found["texts"].values())
    if texts_hidden or _MASK in str(found["recipient"]):
        raise CliError(
            "This key sees addresses and names masked, so that the export would be worthless.",
            exit_code=Exit.UNAUTHORISED,
            hint="Use a key with the scope pii:read beside the read scopes: `depesche keys create --help`.",
        )
