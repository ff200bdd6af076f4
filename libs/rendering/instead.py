"""Tags, filters and variables of other platforms, and what to write for them here."""

from collections.abc import Mapping

_NO_OTHER_TEMPLATE = "a template cannot include another; insert the text itself"
_OF_A_THEME = "it belongs to a shop's theme; remove it"
_IN_THE_EVENT = "put the value into the event"
_UNSUBSCRIBE = "write {{ links.unsubscribe }}"
_ZONE = 'write date: "%H:%M", "Europe/Berlin"; without a zone it is the recipient\'s'

TAGS: Mapping[str, str] = {
    "abort_message": "decide in the communication's condition who gets the message",
    "current_year": 'write {{ event.time | date: "%Y" }}',
    "elif": "write elsif",
    "elseif": "write elsif",
    "empty": "write else",
    "javascript": "mail programs run no scripts; remove it",
    "load": "remove it",
    "now": 'write {{ event.time | date: "%Y" }}',
    "set": "write assign",
    "style": "write <style> … </style>",
    "stylesheet": "write <style> … </style>",
    "with": "write assign",
    **dict.fromkeys(("include", "render", "extends", "block", "macro", "import", "snippet"), _NO_OTHER_TEMPLATE),
    **dict.fromkeys(("section", "sections", "schema", "layout", "form", "paginate"), _OF_A_THEME),
    **dict.fromkeys(
        ("catalog", "catalog_items", "catalog_selection_items", "connected_content", "coupon_code"), _IN_THE_EVENT
    ),
    **dict.fromkeys(
        (
            "unsubscribe",
            "unsubscribe_url",
            "unsubscribe_link",
            "manage_preferences",
            "manage_preferences_link",
            "manage_preferences_url",
            "manage_subscription_preferences_url",
        ),
        _UNSUBSCRIBE,
    ),
    **dict.fromkeys(
        ("web_view", "web_view_url", "view_in_browser_url"), "a mail has no copy on the web; remove the link"
    ),
}

FILTERS: Mapping[str, str] = {
    "date_to_string": 'write date: "%d %b %Y"',
    "escapejs": "write json",
    "floatformat": "write number: 2",
    "format_address": "print its fields",
    "h": "write escape",
    "image_tag": "write <img src>",
    "jsonify": "write json",
    "length": "write size",
    "linebreaksbr": "write newline_to_br",
    "link_to": "write <a href>",
    "lookup": 'write event.data["name"]',
    "lower": "write downcase",
    "money_without_currency": "write number: 2",
    "number_with_delimiter": "write number",
    "number_with_precision": "write number: 2",
    "pluralize": "write {% if count == 1 %} … {% else %} … {% endif %}",
    "property_accessor": 'write event.data["name"]',
    "push": "write concat",
    "safe": "values are escaped for their place; remove it",
    "strftime": 'write date: "%d.%m.%Y"',
    "truncate_words": "write truncatewords",
    "upper": "write upcase",
    "weight_with_unit": "print the number and its unit",
    "where_exp": 'write where: "field", value',
    "xml_escape": "write escape",
    **dict.fromkeys(("time_zone", "timezone"), _ZONE),
    **dict.fromkeys(("title", "titlecase"), "write capitalize"),
    **dict.fromkeys(("t", "translate"), "a template has a text for each locale"),
    **dict.fromkeys(("format_date", "time_tag"), 'write date: "long"'),
    **dict.fromkeys(("cgi_escape", "uri_escape", "url_escape", "url_param_escape"), "write url_encode"),
    **dict.fromkeys(
        (
            "currency",
            "money_with_currency",
            "money_without_trailing_zeros",
            "rounded_currency",
            "unit_price_with_measurement",
        ),
        'write money: "EUR"',
    ),
    **dict.fromkeys(
        ("asset_url", "file_url", "image_url", "img_url", "payment_type_img_url", "shopify_asset_url"),
        "write the URL, or put it into the event",
    ),
    **dict.fromkeys(
        ("camelcase", "group_by", "handle", "handleize", "hmac_sha256", "md5", "sha1", "sha256", "slugify"),
        _IN_THE_EVENT,
    ),
}

PEOPLE = frozenset({"customer", "person", "profile", "user", "contact", "subscriber"})
