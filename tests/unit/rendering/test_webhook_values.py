"""Promise: a webhook's template that forgets the quotes around a value sends JSON all the same, whatever the data."""

from decimal import Decimal
from typing import Any

import pytest

from libs import exact_json
from libs.rendering import WebhookContent, compile_template


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("B-1", "B-1"),
        ('a "quoted", "admin": true', 'a "quoted", "admin": true'),
        (7, 7),
        ("19.90", Decimal("19.90")),
        ("007", "007"),
        ("", ""),
        (True, True),
        (None, None),
        (["a", 1], ["a", 1]),
        ({"a": [None]}, {"a": [None]}),
    ],
)
@pytest.mark.parametrize(
    "source",
    [
        '{"v": {{ event.data.v }}}',
        '{"a": "{{ event.data.v }}", {% if true %}"v": {{ event.data.v }}{% else %}"v": {{ event.data.w }}{% endif %}}',
        '{"l": [{% for i in (1..2) %}{{ event.data.v }}{% unless forloop.last %}, {% endunless %}{% endfor %}],'
        ' "v": {{ event.data.v }}}',
    ],
)
def test_a_value_without_quotes_in_a_webhook_is_json_for_any_data(source: str, value: Any, sent: Any) -> None:
    content = compile_template("webhook", "en", {"json": source}).render({"event": {"data": {"v": value}}})

    assert isinstance(content, WebhookContent)
    assert exact_json.loads(content.body)["v"] == sent


def test_a_value_without_quotes_that_an_event_may_lack_is_null() -> None:
    parts = {"json": '{"v": {{ event.data.v }}}'}
    template = compile_template("webhook", "en", parts, optional=frozenset({"event.data.v"}))

    made = template.render({"event": {"data": {}}})

    assert isinstance(made, WebhookContent)
    assert made.body == b'{"v": null}'


@pytest.mark.parametrize(
    ("source", "sent"),
    [
        ('"Dear {{ event.data.v }}"', "Dear "),
        ('"[{{ event.data.v }}], {{ event.data.v | upcase }}: {{ event.data.v }}, "', "[], : , "),
        ('"{% if true %}{{ event.data.v }}{% endif %}{% for i in event.data.l %}{{ i }};{% endfor %}"', "a;;b;"),
        ('"{{ event.data.v }}", "w": {{ event.data.v }}', ""),
        ('"{{ event.data.v | json }}"', "null"),
    ],
)
def test_a_null_between_quotes_is_no_word(source: str, sent: str) -> None:
    data = {"event": {"data": {"v": None, "l": ["a", None, "b"]}}}

    made = compile_template("webhook", "en", {"json": f'{{"v": {source}}}'}).render(data)

    assert isinstance(made, WebhookContent)
    assert exact_json.loads(made.body)["v"] == sent


def test_a_null_between_quotes_of_a_mails_structured_data_is_no_word() -> None:
    html = '<script type="application/ld+json">{"name": "{{ event.data.v }}", "n": {{ event.data.v }}}</script>'

    made = compile_template("email", "en", {"subject": "x", "html": html}).render({"event": {"data": {"v": None}}})

    assert '{"name": "", "n": null}' in str(made)
