"""Tests a pasted reply or mail against the rules in force, and against those that would be published."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from services.bounce.domain.classifier import Classifier
from services.bounce.domain.facts import Fact, judge, of_reply
from services.bounce.domain.reports import codes_in, read_mail
from services.bounce.domain.rules.assembling import Shipped, rule_of_entry
from services.bounce.domain.rules.entries import Published, State, Wanted
from services.bounce.domain.rules.patterns import BadPattern, of_expression, of_phrase
from services.bounce.domain.rules.rule import BadRule, Rule
from services.bounce.domain.rules.ruleset import Reply
from services.bounce.domain.rules.wording import comparable
from services.bounce.handlers.deps import Bounce
from services.bounce.handlers.rule_sets import in_force, working
from services.bounce.handlers.rules import invalid, unfit
from services.bounce.ports.rules import UnfitPattern


class Pasted(NamedTuple):
    """A reply with what is known besides, or a mail. `rule`: one that is not saved yet, as if it were live."""

    reply: Reply
    mail: bytes | None = None
    rule: Wanted | None = None


class Hit(NamedTuple):
    """What made a rule match: a JSON Pointer into the rule, and the text there."""

    pointer: str
    says: str


class Matched(NamedTuple):
    """A rule that matched, and what made it match."""

    rule: Rule
    hits: list[Hit]


class Opinion(NamedTuple):
    """One rule set's result. `number`: of the set; None: not published."""

    number: int | None
    digest: str
    fact: Fact
    matched: list[Matched]


async def tried(deps: Bounce, pasted: Pasted) -> tuple[Opinion, Opinion]:
    """Return the result of the rules in force, and of the draft. Raises Invalid if the pasted rule is unusable."""
    record = await in_force(deps)
    entries = await working(deps, record)
    if pasted.rule is not None:
        own = Published(pasted.rule.id, pasted.rule.layer, State.LIVE, 0, pasted.rule.document)
        try:
            rule_of_entry(own, deps.workshop.shipped)
        except BadRule as error:
            raise invalid(error.problems, "/rule") from error
        entries = [*(entry for entry in entries if entry.id != own.id), own]
    try:
        draft = await deps.workshop.prepare(entries)
    except UnfitPattern as error:
        document = pasted.rule.document if pasted.rule else {}
        raise invalid([unfit(error, document)], "/rule") from error
    now = await deps.workshop.prepare(record.rules)
    return await asyncio.to_thread(
        lambda: (
            _opinion(pasted, now, record.number, _documents(deps.workshop.shipped, list(record.rules))),
            _opinion(pasted, draft, None, _documents(deps.workshop.shipped, entries)),
        )
    )


def _opinion(
    pasted: Pasted, classifier: Classifier, number: int | None, known: tuple[Shipped, Mapping[str, Any]]
) -> Opinion:
    if pasted.mail is not None:
        fact = judge(read_mail(pasted.mail), classifier)
        reply = Reply(fact.text, fact.reply_code, fact.enhanced, fact.provider, "report")
    else:
        code, enhanced = codes_in(pasted.reply.text)
        given = pasted.reply
        reply = given._replace(reply_code=given.reply_code or code, enhanced=given.enhanced or enhanced)
        fact = of_reply(reply, classifier)
    by_id = {rule.id: rule for rule in classifier.rules.rules}
    seen = {
        classifier.rules.patterns[at]
        for at in (classifier.scan(comparable(reply.text)) if reply.text else ())
        if not all(use.against for use in classifier.rules.uses[at])
    }
    shipped, documents = known
    matched = [Matched(by_id[id_], list(_hits(documents[id_], seen, shipped))) for id_ in (*fact.matched, *fact.shadow)]
    return Opinion(number, classifier.rules.digest, fact, matched)


def _hits(document: Mapping[str, Any], seen: set[bytes], shipped: Shipped) -> Iterator[Hit]:
    for name in ("contains", "starts", "regex", "reply", "enhanced"):
        listed = document.get(name) or ()
        items = listed if isinstance(listed, list | tuple) else (listed,)
        for number, item in enumerate(items):
            if name in ("reply", "enhanced") or _patterns(name, str(item), shipped) & seen:
                yield Hit(f"/{name}/{number}" if items is listed else f"/{name}", str(item))


def _patterns(name: str, text: str, shipped: Shipped) -> set[bytes]:
    try:
        if name == "regex":
            return {of_expression(text)}
        found = of_phrase(text, shipped.words)
    except BadPattern:
        return set()
    return {b"^" + one for one in found} if name == "starts" else set(found)


def _documents(shipped: Shipped, entries: list[Published]) -> tuple[Shipped, Mapping[str, Any]]:
    return shipped, {**shipped.documents, **{entry.id: entry.document for entry in entries}}
