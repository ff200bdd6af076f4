"""Reads phone numbers as people and exports write them, and recognises those whose country nobody can know.

Exports of mail and SMS tools drop the plus (`33612345678`), spreadsheets the leading zero (`15123456789`). Read in the
wrong country such a number is somebody else's.
"""

import phonenumbers

_REACHED_BY_SMS = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE)


def read_number(text: str, region: str | None) -> phonenumbers.PhoneNumber:
    """Parse a number; one without a country code is of `region`. Raises phonenumbers.NumberParseException.

    `491512…` in Germany is read with its plus, if only that reading is a mobile phone's."""
    number = phonenumbers.parse(text, region)
    if not text.startswith(str(number.country_code)) or _is_mobile(number):
        return number
    whole = _with_plus(text)
    return whole if whole and whole.country_code == number.country_code and _is_mobile(whole) else number


def may_be_foreign(text: str, number: phonenumbers.PhoneNumber) -> bool:
    """Whether `number`, as read from `text`, is probably another country's without its plus.

    So it has neither plus nor leading zero, is no mobile phone's where it was read, and is one's with a plus, or is no
    number at all in a country whose numbers begin with 0."""
    digits = phonenumbers.normalize_digits_only(text)
    if "+" in text or "\uff0b" in text or digits.startswith("0") or _is_mobile(number):
        return False
    whole = _with_plus(digits)
    if whole and whole.country_code != number.country_code and _is_mobile(whole):
        return True
    region = phonenumbers.region_code_for_country_code(number.country_code or 0)
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    begins_with_zero = metadata is not None and metadata.national_prefix == "0"
    return begins_with_zero and not phonenumbers.is_valid_number(number)


def _with_plus(digits: str) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(f"+{digits}", None)
    except phonenumbers.NumberParseException:
        return None


def _is_mobile(number: phonenumbers.PhoneNumber) -> bool:
    return phonenumbers.number_type(number) in _REACHED_BY_SMS
