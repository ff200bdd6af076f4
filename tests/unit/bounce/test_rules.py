"""What an author may write, what a rule then matches, and which rule wins."""

from typing import Any

import pytest

from services.bounce.adapters.engines.backtracking import ReScan
from services.bounce.domain.classifier import Classifier, Verdict
from services.bounce.domain.providers import Providers
from services.bounce.domain.rules.patterns import BadPattern, of_expression, of_phrase
from services.bounce.domain.rules.rule import BadRule, Layer, rule_of
from services.bounce.domain.rules.ruleset import Reply, RuleSet, rules_of
from services.bounce.domain.rules.wording import MAX_CHARS, comparable

WORDS = {"mailbox": ["mailbox", "user"]}


def rule(id: str = "one", category: str = "unknown-user", **fields: Any) -> dict[str, Any]:
    return {"id": id, "category": category, **fields}


def verdict(reply: Reply | str, *documents: dict[str, Any], layer: Layer = Layer.SHIPPED) -> Verdict:
    rules = RuleSet(tuple(rules_of(documents, layer, WORDS)))
    given = Reply(reply) if isinstance(reply, str) else reply
    return Classifier(rules, ReScan(rules.patterns), Providers({}, {})).classify(given)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("550 5.1.1 <Kim.O'Neil@x.example>: User unknown!", b" 550 5 1 1 @ user unknown "),
        ("550-5.7.1 not\r\n550-5.7.1 here\r\n550 5.7.1 today", b" 550 5 7 1 not here today "),
        ("421-no\n421 never", b" 421 no never "),
        ("The user’s\tmail-box doesn't «exist»", b" the users mail box doesnt exist "),
        ("Empfänger UNBEKANNT, ÄÖÜ", " empfänger unbekannt äöü ".encode()),
        ("", b""),
        (" .:;! ", b""),
        ("a" * 10 * MAX_CHARS, b" " + b"a" * MAX_CHARS + b" "),
    ],
)
def test_the_compared_form_drops_meaningless_variation(text: str, seen: bytes) -> None:
    assert comparable(text) == seen


@pytest.mark.parametrize(
    ("phrase", "text", "matches"),
    [
        ("user unknown", "550 5.1.1 User-Unknown.", True),
        ("user unknown", "superuser unknown", False),
        ("user unknown", "user unknowns", False),
        ("mailbox * full", "the mailbox of kim is really full", True),
        ("mailbox * full", "mailbox full", True),
        ("mailbox * full", "mailbox " + "x" * 70 + " full", False),
        ("greylist*", "you are greylisted", True),
        ("greylist*", "greylist", True),
        ("{mailbox} gone", "that user gone", True),
        ("{mailbox} gone", "that host gone", False),
        ("doesn't exist", "It doesn’t exist", True),
        ("用户不存在", "550 该用户不存在。", True),
    ],
)
def test_a_phrase_matches_whole_words(phrase: str, text: str, matches: bool) -> None:
    found = ReScan(of_phrase(phrase, WORDS))(comparable(text))
    assert bool(found) is matches


@pytest.mark.parametrize("phrase", ["", "*", "* full", "mailbox *", "a * b * c * d * e", "{nobody} here", "!!"])
def test_a_meaningless_or_malformed_phrase_is_refused(phrase: str) -> None:
    with pytest.raises(BadPattern):
        of_phrase(phrase, WORDS)


@pytest.mark.parametrize(
    ("phrase", "why"),
    [
        ("kim@x.example", "every kind"),
        ("<Kim@X.example>:", "every kind"),
        ("550 kim@x.example", "every kind"),
        ("@ * @", "every kind"),
        ("550", "under `reply`"),
        ("55*", "every kind"),
        ("user <address> unknown", "write @"),
        ("no <id> here", r"write \* instead"),
        ("postmaster@ knows", "a part of an address"),
    ],
)
def test_a_phrase_that_occurs_in_any_reply_is_refused(phrase: str, why: str) -> None:
    with pytest.raises(BadPattern, match=why):
        of_phrase(phrase, WORDS)
    with pytest.raises(BadRule, match="/unless/1"):
        rule_of(rule(contains="x", unless=["gone", phrase]), Layer.SHIPPED, WORDS)


@pytest.mark.parametrize("phrase", ["user kim@x.example unknown", "4.7.500", "s3150", "5 7", "{mailbox}", "@ gone"])
def test_a_phrase_with_more_than_an_address_or_a_number_is_accepted(phrase: str) -> None:
    assert of_phrase(phrase, WORDS)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("a+", "upper bound"),
        ("(?:a{0,100}){0,100}", "too much"),
        ("a{0,500}", "too much"),
        (r"(a)\1", "not linear"),
        ("(?=a)b", "not linear"),
        ("(?<!a)b", "not linear"),
        ("(?>a)b", "not every engine supports"),
        ("a{1,3}+b", "not every engine supports"),
        ("Unknown", "lower case"),
        ("(?i)unknown", "useless"),
        ("[äö]x", "ASCII"),
        ("a?", "every text"),
        ("@", "an address"),
        (r" \d{3} ", "numbers"),
        (" ", "numbers"),
        ("(a", "not a regular expression"),
        ("(" * 3_000 + ")" * 3_000, "500 characters"),
    ],
)
def test_an_expression_with_unbounded_cost_is_refused(expression: str, why: str) -> None:
    with pytest.raises(BadPattern, match=why):
        of_expression(expression)


@pytest.mark.parametrize(
    ("expression", "position"),
    [
        ("over (quota", 5),
        ("ab+c", 2),
        ("x{1,99999}", 1),
        ("x{2,}", 1),
        (r"[+*]\+a*", 7),
        ("ab(?=c)", 2),
        ("ab(?!c)", 2),
        (r"(a)b\1", 4),
        ("a(?>b)c", 1),
        ("ab{1,3}+c", 7),
        ("over Quota", 5),
        ("a(?i)b", None),
        ("x[äö]", 1),
        ("x[a[b]", 1),
        ("x[ab", 1),
        (r"caf\xe9", 3),
        ("a\0b", 1),
        ("x" * 501, 500),
        ("(?:a|b|ab){1,200}c", 10),
        (".{0,150}a.{0,150}b.{0,150}c", 1),
        ("(?:(?:ab?){1,20}){1,10}c", None),
    ],
)
def test_a_refusal_names_the_position_and_a_replacement(expression: str, position: int | None) -> None:
    with pytest.raises(BadPattern) as refused:
        of_expression(expression)
    if position is not None:
        assert refused.value.position == position
    assert len(str(refused.value)) > 20


@pytest.mark.parametrize(
    "expression",
    [
        "(?:é|è)x",
        " (?:[a-z0-9]{1,40} ){1,4}(?:org|net) ",
        "quota.{0,60}full",
        "a{1,200}b",
        r"\d{1,9}x\d{1,9} ",
        "a[^b]{0,99}b",
    ],
)
def test_an_expression_with_few_ways_to_match_is_accepted(expression: str) -> None:
    assert of_expression(expression) == expression.encode()


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (rule(contains="x", id="No Capitals"), "an id has"),
        (rule(contains="x", colour="red"), "no colour"),
        (rule(category="sad", contains="x"), "no category"),
        (rule(), "needs words or a code"),
        (rule(provider="gmail"), "needs words or a code"),
        (rule(reply="7xx"), "not a reply code"),
        (rule(enhanced="5.1"), "not an enhanced code"),
        (rule(contains="x", stage="lunch"), "stage is one of"),
        (rule(contains="x", priority=1_000), "0 to 999"),
        (rule(contains=[{}]), "list of texts"),
        (rule(contains="x", examples=[7]), "an example"),
        (rule(regex="x+"), "upper bound"),
    ],
)
def test_an_invalid_rule_is_refused_by_name(document: dict[str, Any], why: str) -> None:
    with pytest.raises(BadRule, match=why):
        rule_of(document, Layer.SHIPPED, WORDS)


def test_an_id_must_be_unique() -> None:
    with pytest.raises(BadRule, match="twice"):
        rules_of([rule(contains="x"), rule(contains="y")], Layer.SHIPPED, WORDS)


def test_words_rank_above_enhanced_codes_and_these_above_reply_codes() -> None:
    by_reply, by_code = rule("reply", "policy", reply="5xx"), rule("code", "inactive", enhanced="5.2.1")
    by_words = rule("words", contains="nobody")
    at_gmail = rule("gmail", "moved", contains="nobody", provider="gmail")
    given = Reply("nobody", 550, "5.2.1", "gmail")
    assert verdict(given, by_reply, by_code, by_words, at_gmail).matched == ("gmail", "words", "code", "reply")
    assert verdict(given._replace(provider="other"), by_reply, by_code, by_words, at_gmail).rule == "words"
    assert verdict(given._replace(text="hello"), by_reply, by_code, by_words).rule == "code"


def test_the_first_of_equal_rules_wins() -> None:
    assert verdict("nobody", rule("a", contains="nobody"), rule("b", contains="nobody")).matched == ("a", "b")


def test_a_higher_layer_wins_over_any_priority() -> None:
    shipped = rules_of([rule("shipped", contains="nobody", priority=999)], Layer.SHIPPED, WORDS)
    ours = rules_of([rule("ours", "policy", contains="nobody", priority=0)], Layer.ORGANISATION, WORDS)
    now = rules_of([rule("now", "network", contains="nobody", priority=0)], Layer.EMERGENCY, WORDS)
    rules = RuleSet((*shipped, *ours, *now))
    found = Classifier(rules, ReScan(rules.patterns), Providers({}, {})).classify(Reply("nobody"))
    assert found.matched == ("now", "ours", "shipped")


def test_an_excluded_phrase_disables_a_rule() -> None:
    document = rule(contains="nobody", unless="policy page")
    assert verdict("nobody", document).rule == "one"
    assert verdict("nobody, see our policy page", document).rule is None


@pytest.mark.parametrize(
    ("fields", "reply", "matches"),
    [
        ({"reply": "5xx"}, Reply("x", 550), True),
        ({"reply": "500-559"}, Reply("x", 559), True),
        ({"reply": "500-559"}, Reply("x", 560), False),
        ({"reply": 550}, Reply("x", 550), True),
        ({"reply": "5xx"}, Reply("x"), False),
        ({"enhanced": "x.1.1"}, Reply("x", None, "4.1.1"), True),
        ({"enhanced": "5.2.x"}, Reply("x", None, "5.2.123"), True),
        ({"enhanced": "5.2.x"}, Reply("x", None, "5.1.1"), False),
        ({"stage": "data"}, Reply("x", stage="data"), True),
        ({"stage": "data"}, Reply("x"), False),
        ({"source": "session"}, Reply("x", source="report"), False),
    ],
)
def test_every_condition_must_hold(fields: dict[str, Any], reply: Reply, matches: bool) -> None:
    assert (verdict(reply, rule(contains="x", **fields)).rule is not None) is matches


def test_a_digest_ignores_notes_and_examples() -> None:
    def digest(**fields: Any) -> str:
        return RuleSet(tuple(rules_of([rule(contains="x", **fields)], Layer.SHIPPED, WORDS))).digest

    assert digest() == digest(note="why", examples=["x"])
    assert len({digest(), digest(priority=7), digest(provider="gmail"), digest(unless="y")}) == 4
