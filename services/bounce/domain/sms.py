"""Owns what an SMS provider's error codes say about a number (Twilio's public error dictionary)."""

# https://www.twilio.com/docs/api/errors: only codes about recipient or message
CATEGORY_BY_CODE: dict[str, str] = {
    "21211": "unknown-user",  # invalid 'To' number
    "21217": "unknown-user",  # does not appear to be valid
    "21265": "unknown-user",  # a short code
    "21268": "unknown-user",  # premium rate
    "21614": "unknown-user",  # not a mobile number
    "21635": "unknown-user",  # a landline
    "21610": "unsubscribe",  # the owner replied STOP
    "21408": "policy",  # region not enabled for the account
    "21612": "policy",  # not reachable from this sender
    "21611": "throttled",
    "30001": "throttled",
    "30003": "network",  # handset switched off or without signal: temporary
    "30004": "recipient-filter",
    "30005": "unknown-user",  # unknown destination handset
    "30006": "unknown-user",  # a landline, or a carrier that accepts none
    "30007": "spam-content",
    "30008": "undetermined",
    "30034": "policy",
}
