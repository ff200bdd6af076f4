"""The meaning of CSV columns: our names, and those of shops' exports.

`attributes.<name>` is an attribute, `consent.<topic>.<channel>` a consent, `consent_at`, `consent_how` and
`consent_text_version` are its proof; a yes in `optout.<topic>.<channel>` is a no, and a no there says nothing. An empty
cell leaves the value unchanged. The import's report names columns that it ignored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from libs import exact_json
from libs.errors import BadRequest, Invalid
from services.tokens.domain.cells import (
    answer_of,
    check_digits,
    check_formula,
    country_of,
    plain_cell,
    several,
    split_name,
    told_at,
)
from services.tokens.domain.column_names import Meaning, meanings_of

_SIMPLE = ("first_name", "last_name", "locale", "zone")
_LISTS = {"email": "emails", "phone": "phones", "webhook": "webhooks"}
_NAMES_SOMEBODY = frozenset(["key", "customer_id", "installation_id"])


@dataclass(frozen=True, slots=True)
class Columns:
    """A parsed header: `places` maps our names to columns, the rest by their own names."""

    header: tuple[str, ...]
    places: dict[str, int]
    attributes: dict[str, int]
    consents: dict[tuple[str, str], int]
    optouts: dict[tuple[str, str], int]
    ignored: tuple[str, ...]
    zone: str | None = None  # for a consent_at without an offset

    @classmethod
    def read(cls, header: Sequence[str], named: Mapping[str, Meaning] | None = None) -> "Columns":
        """Parse a header; `named` gives columns whose meaning the sender has stated, which takes precedence.

        Raises Invalid if no column names the recipient, or two have the same meaning.
        """
        names = tuple(cell.strip() for cell in header)
        found = meanings_of(names, named or {})
        kinds: dict[str, dict[Any, int]] = {"place": {}, "attribute": {}, "consent": {}, "optout": {}}
        for meaning, at in found.items():
            kinds[meaning.kind][meaning.name] = at
        if not kinds["place"].keys() & _NAMES_SOMEBODY:
            said = "name one customer_id, or state which one it is: column 'Their name=customer_id'"
            raise Invalid(f"No column identifies the recipient; {said}.", pointer="header")
        superfluous = _settle_names(kinds["place"])
        used = set(found.values()) - {superfluous}
        ignored = tuple(name or f"column {at + 1}" for at, name in enumerate(names) if at not in used)
        zone = next((meaning.zone for meaning in found if meaning.zone), None)
        place, attribute, consent, optout = kinds.values()
        return cls(names, place, attribute, consent, optout, ignored, zone)

    def row(self, cells: Sequence[str]) -> dict[str, Any]:
        """Return the row in the shape of an NDJSON row. Raises Invalid."""
        if len(cells) > len(self.header) and not any(cells[len(self.header) :]):
            cells = cells[: len(self.header)]  # spreadsheets pad to the width of the longest row
        if len(cells) != len(self.header):
            raise Invalid(
                f"{len(cells)} cells, but the header has {len(self.header)}; quote cells that contain the delimiter.",
                pointer="row",
            )
        cells = [plain_cell(cell) for cell in cells]
        given = {name: cells[at] for name, at in self.places.items() if cells[at]}
        for name, text in given.items():
            check_formula(text, self.header[self.places[name]])
        for name in given.keys() & _NAMES_SOMEBODY:
            check_digits(given[name], self.header[self.places[name]])
        made: dict[str, Any] = {"key": _key(given)}
        made |= {name: given[name] for name in _SIMPLE if name in given}
        if "full_name" in given:
            made |= split_name(given["full_name"])
        for name, plural in _LISTS.items():
            if name in given:
                made[plural] = several(name, given[name], self.header[self.places[name]])
        if "country" in given:
            made["region"] = country_of(given["country"])
        if "quiet_from" in given or "quiet_to" in given:
            made["quiet_hours"] = {"from": given.get("quiet_from", ""), "to": given.get("quiet_to", "")}
        if devices := _devices(given):
            made["devices"] = devices
        if attributes := self._attributes(given, cells):
            made["attributes"] = attributes
        if consents := self._consents(given, cells):
            made["consents"] = consents
        return made

    def label(self, path: Sequence[str | int]) -> str:
        """Return the column that a path in the row's shape came from."""
        names = {plural: name for name, plural in _LISTS.items()} | {"key": "customer_id"}
        first = str(path[0]) if path else ""
        wanted = [names.get(first, first), first, *(str(part) for part in path[1:])]
        if first == "quiet_hours":
            wanted = [f"quiet_{part}" for part in path[1:]]
        if first == "consents":
            wanted = [f"consent_{part}" for part in path[2:]]
        if first in ("first_name", "last_name"):
            wanted.append("full_name")
        if first == "devices":
            wanted = ["fid", *wanted] if "fid" in self.places else wanted
        for name in wanted:
            if name in self.places:
                return self.header[self.places[name]]
        return "/".join(str(part) for part in path) or "row"

    def _attributes(self, given: dict[str, str], cells: Sequence[str]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if text := given.get("attributes"):
            try:
                made = exact_json.loads(text)
            except BadRequest as error:
                raise Invalid(error.detail, pointer="attributes") from error
            if not isinstance(made, dict):
                raise Invalid('Attributes must be a JSON object, like {"tier": "gold"}.', pointer="attributes")
        for at in self.attributes.values():
            if "\0" in cells[at]:  # unlike JSON, a cell can hold it
                raise Invalid("The text holds the character U+0000, which cannot be stored.", pointer=self.header[at])
        return made | {name: cells[at] for name, at in self.attributes.items() if cells[at]}

    def _consents(self, given: dict[str, str], cells: Sequence[str]) -> list[dict[str, Any]]:
        proof = {name: given[f"consent_{name}"] for name in ("how", "text_version") if f"consent_{name}" in given}
        if "consent_at" in given:
            proof["at"] = told_at(given["consent_at"], self.zone, self.header[self.places["consent_at"]])
        made = []
        for (topic, channel), at in self.consents.items():
            granted = answer_of(cells[at], self.header[at])
            if granted is not None:
                made.append({"topic": topic, "channel": channel, "granted": granted, **proof})
        proof.pop("at", None)  # when somebody agreed is not when they declined
        for (topic, channel), at in self.optouts.items():
            if answer_of(cells[at], self.header[at]):
                made.append({"topic": topic, "channel": channel, "granted": False, **proof})
        return made


def _settle_names(places: dict[str, int]) -> int | None:
    """A column `Name` is the last name beside a first one, superfluous beside a last one, else the whole name. Return
    the column that is superfluous."""
    if "full_name" in places and "last_name" in places:
        return places.pop("full_name")
    if "full_name" in places and "first_name" in places:
        places["last_name"] = places.pop("full_name")
    return None


def _key(given: dict[str, str]) -> str:
    if "key" in given:
        return given["key"]
    if "customer_id" in given:
        customer = given["customer_id"]
        return customer if customer.startswith("customer:") else f"customer:{customer}"
    return f"installation:{given.get('installation_id', '')}"


def _devices(given: dict[str, str]) -> list[dict[str, str]]:
    shared: dict[str, str] = {name: given[name] for name in ("platform", "app_version") if name in given}
    if "installation_id" in given:
        shared["installation"] = given["installation_id"]
    if "fid" in given:
        return [{"kind": "fid", "token": given["fid"], **shared}]
    if "token" in given:
        return [{"kind": "fcm_token", "token": given["token"], **shared}]
    return []
