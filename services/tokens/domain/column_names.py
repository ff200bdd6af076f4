"""What the names of columns mean: our names, those that exports usually have, and others as the sender states."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from libs.errors import FieldError, Invalid
from services.tokens.domain.recipients import time_zone

_ALIASES = {
    "key": "key recipient recipientkey",
    "customer_id": "customerid customer customernumber customerno id userid user kundennummer kundennr kundenid kunde "
    "externalid externaluserid externalcustomerid subscriberkey contactkey",
    "installation_id": "installationid installation instanceid",
    "first_name": "firstname givenname forename vorname prenom nombre nome voornaam",
    "last_name": "lastname surname familyname nachname familienname apellido cognome achternaam",
    "full_name": "fullname name nom displayname contactname customername kundenname",  # or the last one: see columns.py
    "email": "email emailaddress mail emailadresse courriel correo",
    "phone": "phone phonenumber mobile mobilephone mobilenumber cellphone telephone tel telefon telefonnummer handy "
    "handynummer mobil mobilnummer sms",
    "country": "country countrycode countryiso land landcode pays pais paese defaultaddresscountrycode billingcountry "
    "billingcountrycode",
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
_CONSENT = re.compile(r"(consent|optout)[.:]([^.:]+(?:[.:][^.:]+)*)[.:](push|email|sms|webhook)", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"(?:attributes?|attr)[.:](.{1,64})", re.IGNORECASE)
_AT_IN_ZONE = "consent_at:"
# Where a yes means no: Salesforce, HubSpot and Dynamics export who declined, not who agreed.
_OF_DECLINING = re.compile(
    r"opt(ed)?[\W_]*out|unsubscri|do[\W_]*not|no[\W_]*longer|(block|black)[\W_]*list|abgemeldet|d[ée]s(abonn|inscri)",
    re.IGNORECASE,
)
_OF_BOTH = re.compile(r"opt[\W_]*in|stat(us|e)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a column is: `kind` is place, attribute, consent or optout; `own` if it has our name, or the sender stated
    it."""

    kind: str
    name: str | tuple[str, str]
    own: bool = field(default=False, compare=False)
    zone: str | None = field(default=None, compare=False)  # for times without an offset

    @property
    def said(self) -> str:
        """How a header would name it."""
        return self.name if isinstance(self.name, str) else ".".join((self.kind, *self.name))


def meaning_of(name: str) -> Meaning | None:
    """Return what a column of this name means; None if the name is unknown."""
    if consent := _CONSENT.fullmatch(name):
        return Meaning(consent[1].lower(), (consent[2].lower(), consent[3].lower()))
    if attribute := _ATTRIBUTE.fullmatch(name):
        return Meaning("attribute", attribute[1])
    place = _MEANING.get(re.sub(r"[\W_]+", "", name.lower()))
    # another system may happen to use email or phone as well: of two such columns, nobody knows which is meant
    return Meaning("place", place, own=name == place and "_" in name) if place else None


def meanings_of(names: Sequence[str], named: Mapping[str, Meaning]) -> dict[Meaning, int]:
    """Return the position of each meaning in a header. `named` takes precedence, then our own names.

    Raises Invalid if two columns have the same meaning, or a named column is missing.
    """
    errors = [
        FieldError("column", f"The file has no column {name!r}; spell it as in the header.")
        for name in named
        if name not in names
    ]
    found: dict[Meaning, int] = {}
    meanings = [named.get(name) or meaning_of(name) for name in names]
    owned = {meaning for meaning in meanings if meaning is not None and meaning.own}
    for at, meaning in enumerate(meanings):
        if meaning is None or (meaning in owned and not meaning.own):
            continue
        if (first := found.setdefault(meaning, at)) != at:
            errors.append(FieldError(f"header/{at + 1}", _twice(names[first], names[at], meaning)))
    if errors:
        raise Invalid.many(errors)
    return found


def _twice(first: str, second: str, meaning: Meaning) -> str:
    if first == second:
        return f"Two columns are named {first!r}; rename one."
    return f"{first!r} and {second!r} both mean {meaning.said}; state which to use: column '{second}={meaning.said}'."


def named_columns(given: Sequence[str]) -> dict[str, Meaning]:
    """Return what columns mean as the sender states it, each as `Their name=our name`. Raises Invalid."""
    named: dict[str, Meaning] = {}
    errors: list[FieldError] = []
    for text in given:
        name, _, ours = (part.strip() for part in text.rpartition("="))
        try:
            meaning = _named(ours)
        except ValueError as error:
            errors.append(FieldError("column", str(error)))
            continue
        if not name or meaning is None:
            errors.append(FieldError("column", _shape(ours)))
        elif meaning.kind == "consent" and _OF_DECLINING.search(name) and not _OF_BOTH.search(name):
            said = f"'{name}={meaning.said.replace('consent', 'optout', 1)}'"
            errors.append(FieldError("column", f"{name!r} seems to say who declined; write {said}, or rename it."))
        elif name in named:
            errors.append(FieldError("column", f"{name!r} is given two meanings; give it one."))
        else:
            named[name] = meaning
    if errors:
        raise Invalid.many(errors)
    return named


def _named(ours: str) -> Meaning | None:
    if ours.startswith(_AT_IN_ZONE):
        return Meaning("place", "consent_at", own=True, zone=time_zone(ours.removeprefix(_AT_IN_ZONE)))
    meaning = meaning_of(ours)
    if meaning is None or (meaning.kind == "place" and ours not in _ALIASES):
        return None
    return replace(meaning, own=True)


def _shape(ours: str) -> str:
    known = ", ".join(_ALIASES)
    return (
        f"{ours!r} is not a column that we know; write 'Their name=email'. Names are {known}, "
        "attributes.<name>, consent.<topic>.<channel> and optout.<topic>.<channel>."
    )
