"""What the columns of a CSV mean: our names, and the ones that shops' exports have.

`attributes.<name>` is an attribute, `consent.<topic>.<channel>` a consent, `consent_at`, `consent_how` and
`consent_text_version` their proof. An empty cell leaves what is there. Columns that mean nothing to us are
named in the import's report.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from libs import exact_json
from libs.errors import BadRequest, FieldError, Invalid

_ALIASES = {
    "key": "key recipient recipientkey",
    "customer_id": "customerid customer customernumber customerno id userid user kundennummer kundennr kundenid kunde",
    "installation_id": "installationid installation instanceid",
    "first_name": "firstname givenname forename vorname prenom nombre nome voornaam",
    "last_name": "lastname surname familyname nachname familienname name nom apellido cognome achternaam",
    "email": "email emailaddress mail emailadresse courriel correo",
    "phone": "phone phonenumber mobile mobilephone mobilenumber cellphone telephone tel telefon telefonnummer handy "
    "handynummer mobil mobilnummer sms",
    "webhook": "webhook webhookurl",
    "locale": "locale language lang sprache langue",
    "zone": "zone timezone tz zeitzone",
    "quiet_from": "quietfrom quiethoursfrom quietstart ruheab",
    "quiet_to": "quietto quiethoursto quietend ruhebis",
    "token": "token fcmtoken pushtoken devicetoken registrationtoken",
    "fid": "fid firebaseinstallationid",
    "platform": "platform os",
    "app_version": "appversion",
    "attributes": "attributes attribute",
    "consent_at": "consentat optinat optindate",
    "consent_how": "consenthow optinsource consentsource",
    "consent_text_version": "consenttextversion optintext",
}
_MEANING = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}
_SIMPLE = ("first_name", "last_name", "locale", "zone")
_LISTS = {"email": "emails", "phone": "phones", "webhook": "webhooks"}
_YES = frozenset(["1", "yes", "y", "true", "t", "ja", "j", "oui", "si", "sí", "on", "opt-in", "optin", "granted"])
_NO = frozenset(["0", "no", "n", "false", "f", "nein", "non", "off", "opt-out", "optout", "withdrawn"])
_CONSENT = re.compile(r"consent[.:]([^.:]+(?:[.:][^.:]+)*)[.:](push|email|sms|webhook)", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"(?:attributes?|attr)[.:](.{1,64})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Columns:
    """A header that was understood: `places` maps our names to columns, the rest by their own."""

    header: tuple[str, ...]
    places: dict[str, int]
    attributes: dict[str, int]
    consents: dict[tuple[str, str], int]
    ignored: tuple[str, ...]

    @classmethod
    def read(cls, header: Sequence[str]) -> "Columns":
        """Understands a header. Raises Invalid where nothing names the recipient, or a meaning comes twice."""
        columns = cls(tuple(cell.strip() for cell in header), {}, {}, {}, ())
        ignored: list[str] = []
        errors: list[FieldError] = []
        for at, name in enumerate(columns.header):
            table, key = _meaning(name, columns)
            if table is None:
                ignored.append(name or f"column {at + 1}")
            elif key in table:
                errors.append(FieldError(f"header/{at + 1}", f"Two columns mean the same: {name!r} comes twice."))
            else:
                table[key] = at
        if not columns.places.keys() & {"key", "customer_id", "installation_id"}:
            errors.append(FieldError("header", "No column names the recipient; call one key or customer_id."))
        if errors:
            raise Invalid.many(errors)
        return cls(columns.header, columns.places, columns.attributes, columns.consents, tuple(ignored))

    def row(self, cells: Sequence[str]) -> dict[str, Any]:
        """The row in the shape of an NDJSON row. Raises Invalid."""
        if len(cells) > len(self.header) and not any(cells[len(self.header) :]):
            cells = cells[: len(self.header)]  # spreadsheets fill the longest row's width
        if len(cells) != len(self.header):
            raise Invalid(
                f"{len(cells)} cells where the header has {len(self.header)}; quote cells that hold the delimiter.",
                pointer="row",
            )
        given = {name: cells[at].strip() for name, at in self.places.items() if cells[at].strip()}
        made: dict[str, Any] = {"key": _key(given)}
        made |= {name: given[name] for name in _SIMPLE if name in given}
        made |= {plural: [given[name]] for name, plural in _LISTS.items() if name in given}
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
        """The column that a place in the row's shape came from."""
        names = {plural: name for name, plural in _LISTS.items()} | {"key": "customer_id"}
        first = str(path[0]) if path else ""
        wanted = [names.get(first, first), first, *(str(part) for part in path[1:])]
        if first == "quiet_hours":
            wanted = [f"quiet_{part}" for part in path[1:]]
        if first == "consents":
            wanted = [f"consent_{part}" for part in path[2:]]
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
                raise Invalid('Attributes are a JSON object, like {"tier": "gold"}.', pointer="attributes")
        for at in self.attributes.values():
            if "\0" in cells[at]:  # a cell is no JSON, which could not hold it
                raise Invalid("The text holds the character U+0000, which cannot be stored.", pointer=self.header[at])
        return made | {name: cells[at].strip() for name, at in self.attributes.items() if cells[at].strip()}

    def _consents(self, given: dict[str, str], cells: Sequence[str]) -> list[dict[str, Any]]:
        made = []
        for (topic, channel), at in self.consents.items():
            answer = cells[at].strip().lower()
            if not answer:
                continue
            if answer not in _YES | _NO:
                raise Invalid("A consent is yes or no.", pointer=self.header[at])
            proof = {
                name: given[f"consent_{name}"] for name in ("at", "how", "text_version") if f"consent_{name}" in given
            }
            made.append({"topic": topic, "channel": channel, "granted": answer in _YES, **proof})
        return made


def _meaning(name: str, columns: Columns) -> tuple[dict[Any, int] | None, Any]:
    if consent := _CONSENT.fullmatch(name):
        return columns.consents, (consent[1].lower(), consent[2].lower())
    if attribute := _ATTRIBUTE.fullmatch(name):
        return columns.attributes, attribute[1]
    meaning = _MEANING.get(re.sub(r"[\W_]+", "", name.lower()))
    return (columns.places, meaning) if meaning else (None, None)


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
