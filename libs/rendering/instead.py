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
    "today": 'write {{ event.time | date: "%Y" }}',
    "style": "write <style> … </style>",
    "stylesheet": "write <style> … </style>",
    "with": "write assign",
    **dict.fromkeys(
        ("include", "render", "extends", "block", "macro", "import", "snippet", "shape", "zone"), _NO_OTHER_TEMPLATE
    ),
    **dict.fromkeys(("content_for", "section", "sections", "schema", "layout", "form", "paginate"), _OF_A_THEME),
    **dict.fromkeys(("current_day", "current_day_of_week", "current_month"), 'write {{ event.time | date: "%A" }}'),
    **dict.fromkeys(
        (
            "catalog",
            "catalog_items",
            "catalog_lookup",
            "catalog_selection_items",
            "connected_content",
            "coupon",
            "coupon_code",
        ),
        _IN_THE_EVENT,
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
    **dict.fromkeys(("image_tag", "img_tag"), "write <img src>"),
    **dict.fromkeys(("jsonify", "json_escape", "to_json", "tojson"), "write json"),
    "length": "write size",
    "linebreaksbr": "write newline_to_br",
    **dict.fromkeys(("href", "link_to"), "write <a href>"),
    **dict.fromkeys(("metafield_tag", "metafield_text"), "remove it"),
    "lookup": 'write event.data["name"]',
    "lower": "write downcase",
    "money_without_currency": "write number: 2",
    "number_with_delimiter": "write number",
    "number_with_precision": "write number: 2",
    "pluralize": "write {% if count == 1 %} … {% else %} … {% endif %}",
    "property_accessor": 'write event.data["name"]',
    "push": "write concat",
    "html_decode": "remove it",
    "sort_by": "write sort",
    "to_i": "write round",
    "safe": "values are escaped for their place; remove it",
    "strftime": 'write date: "%d.%m.%Y"',
    "truncate_words": "write truncatewords",
    "upper": "write upcase",
    "weight_with_unit": "print the number and its unit",
    "where_exp": 'write where: "field", value',
    "xml_escape": "write escape",
    **dict.fromkeys(("time_zone", "timezone"), _ZONE),
    **dict.fromkeys(("title", "titlecase", "titleize"), "write capitalize"),
    **dict.fromkeys(("format_number", "intcomma", "number_to_delimited"), "write number"),
    **dict.fromkeys(("t", "translate"), "a template has a text for each locale"),
    **dict.fromkeys(("format_date", "time_tag"), 'write date: "long"'),
    **dict.fromkeys(("cgi_escape", "uri_escape", "url_escape", "url_param_escape"), "write url_encode"),
    **dict.fromkeys(
        (
            "currency",
            "currency_format",
            "money_amount",
            "money_with_currency",
            "money_without_trailing_zeros",
            "rounded_currency",
            "unit_price_with_measurement",
        ),
        'write money: "EUR"',
    ),
    **dict.fromkeys(
        (
            "article_img_url",
            "asset_img_url",
            "asset_url",
            "cdn_asset_url",
            "collection_img_url",
            "file_img_url",
            "file_url",
            "global_asset_url",
            "image_url",
            "img_url",
            "payment_icon_png_url",
            "payment_type_img_url",
            "product_img_url",
            "shopify_asset_url",
        ),
        "write the URL, or put it into the event",
    ),
    **dict.fromkeys(
        (
            "add_day",
            "camelcase",
            "camelize",
            "date_add",
            "days_later",
            "group_by",
            "handle",
            "handleize",
            "hmac_sha1",
            "hmac_sha256",
            "md5",
            "sha1",
            "sha256",
            "slugify",
            "subtract_day",
        ),
        _IN_THE_EVENT,
    ),
}

PEOPLE = frozenset({"customer", "person", "profile", "user", "contact", "subscriber"})

# variables without a dot, and the words of other languages that read like one
VARIABLES: Mapping[str, str] = {
    "False": "false",
    "None": "nil",
    "True": "true",
    "first_name": "recipient.first_name",
    "last_name": "recipient.last_name",
    "loop": "forloop",
    **dict.fromkeys(
        ("manage_subscriptions_url", "unsubscribe", "unsubscribe_link", "unsubscribe_url"), "links.unsubscribe"
    ),
}

# letters of a date's format as Django, Klaviyo and PHP write it
_LETTERS = {
    "A": "%p", "D": "%a", "F": "%B", "G": "%-H", "H": "%H", "M": "%b", "N": "%b", "P": "%-I:%M %p", "Y": "%Y",
    "a": "%P", "b": "%b", "d": "%d", "g": "%-I", "h": "%I", "i": "%M", "j": "%-d", "l": "%A", "m": "%m", "n": "%-m",
    "s": "%S", "y": "%y",
}  # fmt: skip


def date_format(written: str) -> str:
    """Return the directives for a date's format without a percent sign, or an example if it has other words."""
    known = all(sign in _LETTERS for sign in written if sign.isalpha())
    return "".join(_LETTERS.get(sign, sign) for sign in written) if known else "%d.%m.%Y"
