"""Each channel's content: escaped for its destination, links harmless, sizes counted as the channel counts them."""

from typing import Any

import pytest

from libs.contracts.reasons import Reason
from libs.errors import Invalid
from libs.rendering import (
    ContentTooLarge,
    EmailContent,
    PushContent,
    RenderFailed,
    SmsContent,
    WebhookContent,
    compile_template,
    content_digest,
)
from libs.rendering.contents import Woven
from libs.rendering.html_context import place
from libs.rendering.html_text import text_source
from libs.rendering.links import problem_of_link
from libs.rendering.sms import count

MAIL = {"subject": "S", "html": "<p>x</p>"}


def rendered(channel: str, parts: dict[str, Any], **data: Any) -> Any:
    event = {"id": "e", "subject": "B-1", "time": "2026-03-01T09:00:00Z", "data": data}
    variables = {"event": event, "recipient": {"first_name": "Jörg"}, "links": {"unsubscribe": "https://x.example/u"}}
    return compile_template(channel, "de", parts).render(variables)


def test_a_push_contains_its_rendered_parts() -> None:
    parts = {
        "title": "Hallo\n{{ recipient.first_name }}",
        "body": "Zeile 1\n{{ event.data.a }}",
        "image": "https://img.example/{{ event.data.a }}.png",
        "link": "myshop://order/{{ event.subject }}",
        "data": {"order": "{{ event.subject }}", "fixed": "1"},
        "collapse_key": "order",
        "ttl_seconds": 60,
    }

    assert rendered("push", parts, a="x") == PushContent(
        title="Hallo Jörg",
        body="Zeile 1\nx",
        image="https://img.example/x.png",
        link="myshop://order/B-1",
        data={"order": "B-1", "fixed": "1"},
        collapse_key="order",
        ttl_seconds=60,
    )


@pytest.mark.parametrize(
    ("link", "allowed"),
    [
        ("https://shop.example/a", True),
        ("HTTPS://shop.example", True),
        ("myshop://order/1", True),
        ("com.shop.app:/x", True),
        ("javascript:alert(1)", False),
        ("JaVaScRiPt:alert(1)", False),
        ("java\nscript:alert(1)", False),
        ("\x01javascript:alert(1)", False),
        ("data:text/html,<script>", False),
        ("file:///etc/passwd", False),
        ("intent://x#Intent;end", False),
        ("/relative", False),
        ("shop.example", False),
        ("https:shop.example", False),
        ("://x", False),
    ],
)
def test_links_are_web_or_app_links(link: str, allowed: bool) -> None:
    assert (problem_of_link(link) is None) is allowed


@pytest.mark.parametrize("url", ["javascript:x", "//evil.example", "ftp"])
def test_a_push_with_a_bad_link_fails_with_a_reason(url: str) -> None:
    with pytest.raises(RenderFailed) as failed:
        rendered("push", {"title": "T", "body": "B", "link": "{{ event.data.u }}"}, u=url)

    assert failed.value.errors[0].pointer == "/link"


def test_a_push_over_4096_bytes_is_not_sent() -> None:
    parts = {"title": "T", "body": "{{ event.data.long }}"}

    assert rendered("push", parts, long="ä" * 1_900)
    with pytest.raises(ContentTooLarge) as failed:
        rendered("push", parts, long="ä" * 2_000)
    assert failed.value.reason is Reason.TOO_LARGE


def test_a_push_too_large_for_any_values_is_refused_when_compiled() -> None:
    with pytest.raises(Invalid) as refused:
        compile_template("push", "de", {"title": "T", "body": "é" * 2_000}, pointer="/locales/de")

    assert refused.value.errors[0].pointer == "/locales/de/body"


@pytest.mark.parametrize(
    ("html", "says"),
    [
        ("<a href={{ event.data.u }}>", "without quotes"),
        ("<td {{ event.data.u }}>", "without quotes"),
        ("<{{ event.data.u }}>", "without quotes"),
        ('<p onclick="{{ event.data.u }}">', "runs as a script"),
        ("<script>{{ event.data.u }}</script>", "is not allowed in a mail"),
        ("<a href='javascript:alert(1)'>", "not allowed"),
        ("<a href='&#106;avascript:alert(1)'>", "not allowed"),
        ("<iframe src='https://x.example'></iframe>", "is not allowed"),
    ],
)
def test_html_that_escaping_cannot_protect_is_refused(html: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        compile_template("email", "de", MAIL | {"html": html})

    assert says in " ".join(error.detail for error in refused.value.errors)


@pytest.mark.parametrize(
    ("html", "values", "renders"),
    [
        ('<a href="{{ event.data.a }}">', {"a": "https://x.example/?a=1&b='"}, True),
        ('<a href="{{ event.data.a }}">', {"a": "/path"}, True),
        ('<a href="{{ event.data.a }}{{ event.data.b }}">', {"a": "java", "b": "script:alert(1)"}, False),
        ('<a href="{{ event.data.a }}{{ event.data.b }}">', {"a": "https://x", "b": "/y:z"}, True),
        ('<a href="java{{ event.data.a }}">', {"a": "script:alert(1)"}, False),
        ('<a href="https://x.example/{{ event.data.a }}">', {"a": "javascript:fine-here"}, True),
        ('{% if true %}<a href="{{ event.data.a }}">{% endif %}', {"a": "vbscript:x"}, False),
        ('<a href="{% if true %}{{ event.data.a }}{% else %}{{ event.data.b }}{% endif %}">', {"a": "data:x"}, False),
        ('{% assign u = event.data.a %}<a href="{{ u | strip }}">', {"a": " JAVASCRIPT:x"}, False),
    ],
)
def test_no_value_can_make_a_link_that_runs_code(html: str, values: dict[str, str], renders: bool) -> None:
    if renders:
        assert rendered("email", MAIL | {"html": html}, **values)
    else:
        with pytest.raises(RenderFailed):
            rendered("email", MAIL | {"html": html}, **values)


def test_headers_stay_on_one_line() -> None:
    hostile = "x\r\nBcc: all@example.com\u2028y"
    made = rendered("email", MAIL | {"subject": "{{ event.data.s }}", "from_name": "{{ event.data.s }}"}, s=hostile)

    assert isinstance(made, EmailContent)
    assert made.subject == made.from_name == "x Bcc: all@example.com y"


@pytest.mark.parametrize("address", ["a b@x.example", "a@x.example, b@x.example", "<a@x.example>", "nobody", "a@local"])
def test_reply_to_is_one_plain_address(address: str) -> None:
    with pytest.raises(RenderFailed):
        rendered("email", MAIL | {"reply_to": "{{ event.data.r }}"}, r=address)


def test_the_text_part_says_what_the_html_says() -> None:
    html = (
        "<html><head><title>T</title><style>p{}</style></head><body><h1>Hallo {{ recipient.first_name }}</h1>"
        "<p>Zwei &amp; zwei<br>sind&nbsp;vier</p><ul>{% for i in event.data.items %}<li>{{ i }}</li>{% endfor %}</ul>"
        '<p style="display:none">unsichtbar</p><img src="https://x.example/y.png" alt="Logo">'
        '<a href="{{ links.unsubscribe }}">Abmelden</a></body></html>'
    )
    made = rendered("email", MAIL | {"html": html}, items=["a", "<b>"])

    assert made.text == (
        "Hallo Jörg\n\nZwei & zwei\nsind\xa0vier\n\n- a\n- <b>\n\nLogo Abmelden (https://x.example/u)\n"
    )


def test_text_that_resembles_liquid_stays_text() -> None:
    assert text_source("<p>&#123;&#123; x }}</p>") == "{ { x }}\n"


@pytest.mark.parametrize(
    ("text", "encoding", "units", "segments"),
    [
        ("a" * 160, "gsm-7", 160, 1),
        ("a" * 161, "gsm-7", 161, 2),
        ("a" * 306, "gsm-7", 306, 2),
        ("€" * 80, "gsm-7", 160, 1),
        ("€" * 81, "gsm-7", 162, 2),
        ("a" * 152 + "€" + "a" * 152, "gsm-7", 306, 3),  # an escape is never separated from its character
        ("äöüß@£$", "gsm-7", 7, 1),
        ("ő" * 70, "ucs-2", 70, 1),
        ("ő" * 71, "ucs-2", 71, 2),
        ("👋" * 35, "ucs-2", 70, 1),
        ("👋" * 36, "ucs-2", 72, 2),
        ("👋" * 67, "ucs-2", 134, 3),  # 33 pairs fill a segment of 67 units
        ("", "gsm-7", 0, 1),
    ],
)
def test_sms_segments_are_counted_as_operators_charge(text: str, encoding: str, units: int, segments: int) -> None:
    counted = count(text)

    assert (counted.encoding, counted.units, counted.segments) == (encoding, units, segments)


def test_an_sms_of_more_than_ten_segments_is_not_sent() -> None:
    assert rendered("sms", {"text": "{{ event.data.t }}"}, t="a" * 1_530) == SmsContent("a" * 1_530, 10, "gsm-7")
    with pytest.raises(ContentTooLarge):
        rendered("sms", {"text": "{{ event.data.t }}"}, t="a" * 1_531)


def test_a_webhook_is_json_for_any_values() -> None:
    made = rendered(
        "webhook", {"json": '{"name": "{{ event.data.n }}", "all": {{ event.data | json }}}'}, n='"},\n{"x": "'
    )

    assert isinstance(made, WebhookContent)
    assert made.body.startswith(b'{"name": "\\"},\\n{\\"x\\": \\""')


def test_a_webhook_template_that_is_no_json_is_refused_when_published() -> None:
    with pytest.raises(Invalid) as refused:
        compile_template("webhook", "en", {"json": '{"a": 1,}'}, pointer="/locales/en")

    assert refused.value.errors[0].pointer == "/locales/en/json"


def test_a_webhook_rendered_to_invalid_json_fails_before_sending() -> None:
    with pytest.raises(RenderFailed, match="does not produce JSON"):
        rendered("webhook", {"json": '{"name": 1{{ event.data.n }}}'}, n="no number")


@pytest.mark.parametrize(
    ("channel", "parts", "pointers"),
    [
        ("push", {"title": "T"}, ["/body"]),
        ("push", {"title": "T", "body": "B", "subject": "S"}, ["/subject"]),
        ("push", {"title": "T", "body": "B", "ttl_seconds": -1}, ["/ttl_seconds"]),
        ("push", {"title": "T", "body": "B", "data": {"a b": "1", "c": 2}}, ["/data/a b", "/data/c"]),
        ("email", {"subject": 5, "html": "x"}, ["/subject"]),
        ("sms", {}, ["/text"]),
        ("webhook", {"json": " "}, ["/json"]),
        ("fax", {}, [""]),
    ],
)
def test_all_parts_of_the_wrong_type_are_named(channel: str, parts: dict[str, Any], pointers: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        compile_template(channel, "de", parts)

    assert sorted({error.pointer for error in refused.value.errors}) == pointers


def test_hostile_html_is_parsed_in_linear_time() -> None:
    for hostile in (
        "<a " * 30_000,
        "<" * 100_000,
        "<!--" * 30_000,
        "{{" * 50_000,
        "{% raw %}" * 10_000,
        "<script>" * 9_000,
    ):
        assert place(hostile) is not None
        assert isinstance(text_source(hostile), str)


@pytest.mark.parametrize("a", ["Anna", "", "\n\n", "a\n", " ", "\x00", "79,90\xa0€"])
@pytest.mark.parametrize("html", ["<p>{{ event.data.a }}</p>", "<p>x</p>{{ event.data.a }}<p>y</p>", "<p>only</p>"])
def test_literals_and_values_of_a_mail_join_to_its_text(html: str, a: str) -> None:
    """Encoding literals and values separately sends what the digest records; blank lines are collapsed either way."""
    content = rendered("email", MAIL | {"html": html}, a=a)

    for text, made in ((content.text, content.words), (content.html, content.page)):
        if isinstance(made, Woven):
            pieces = [piece for pair in zip(made.literals, [*made.values, ""], strict=True) for piece in pair]
            assert "".join(pieces) == text
    assert "\n\n\n" not in content.text
    assert isinstance(content.page, Woven)
    assert isinstance(content.words, Woven) or a in ("", "\n\n", "a\n", "\x00")


def test_mails_of_a_template_share_literals_and_store_only_values() -> None:
    """Thousands are in flight at once; the digest is that of the complete texts all the same."""
    template = compile_template(
        "email", "de", {"subject": "S", "html": "<p>Hi {{ event.data.a }}</p>" + "<p>x</p>" * 99}
    )
    one, other = (template.render({"event": {"data": {"a": name}}}) for name in ("Anna", "Jörg"))

    assert isinstance(one, EmailContent)
    assert isinstance(other, EmailContent)
    for ours, theirs in ((one.page, other.page), (one.words, other.words)):
        assert isinstance(ours, Woven)
        assert isinstance(theirs, Woven)
        assert ours.literals is theirs.literals
        assert ours.values == ["Anna"]
    assert content_digest(one) == content_digest(EmailContent("S", one.html, one.text)) != content_digest(other)


def test_a_mail_with_conditions_is_not_woven() -> None:
    content = rendered("email", MAIL | {"html": "<p>{% if event.data.a %}A{% endif %}</p>"}, a="x")

    assert isinstance(content.page, str)
    assert "A" in content.text
