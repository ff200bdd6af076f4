"""Owns the verdict on a refusal: every rule that matches, the one that wins, and the confidence.

The text comes first, because codes are used loosely (5.7.1 and 550 stand for everything). A precise code has a rule
with a priority of its own. If no rule matches a reply, or nothing but a code says that it is `policy`, a model may
classify it (domain/model.py), if it is sure.
"""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple, cast

from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.model import Guess, Model
from services.bounce.domain.providers import Providers
from services.bounce.domain.rules.rule import Layer, Rule
from services.bounce.domain.rules.ruleset import Reply, RuleSet, Scan
from services.bounce.domain.rules.wording import folded, spaced

UNDETERMINED = "undetermined"
MOST_SETTLED = 50_000
MOST_REMEMBERED = 20_000
_BARE = 150  # the highest priority of rules that know no more than a class of codes
_SAYS_LITTLE = 40  # characters: a code with a word or two
_LONGEST = 500  # bytes of a reply that is cached: 20 MB at the very most


_NONE: frozenset[str] = frozenset()
_ABOUT_MAILBOX = frozenset({"unknown-user", "inactive", "moved"})
_ABOUT_RECIPIENT = _ABOUT_MAILBOX | {"bad-domain"}
_MOVED = frozenset({"moved"})  # nobody moves for a while
# a server that answers connect, HELO or MAIL FROM does not yet know whom the mail is for; it may say at once that its
# domain accepts no mail (RFC 7504)
_BARRED = dict.fromkeys(("connect", "helo", "mail"), _ABOUT_RECIPIENT)
_TAKES_NO_MAIL = (521, 556)
# answers to our commands and our login (RFC 5321, RFC 4954)
_TO_OUR_COMMANDS = (502, 503, 530, 534, 535, 538)
# subject and detail of RFC 3463: our address, our message's size, too much mail, a loop
_ABOUT_US = frozenset({"1.7", "1.8", "2.3", "3.4", "4.5", "4.6"})
# the details of x.7.x that servers also use for the recipient: no detail, disabled (RFC 5248), other owner (RFC 7293)
_LOOSE_SECURITY = frozenset({"7.0", "7.1", "7.13", "7.17", "7.18"})


class Verdict(NamedTuple):
    """`rule`: the id of the winner, None if none matched; `matched`: all of them, the winner first.

    `confidence` is a rank, not a probability: a known provider's words above anybody's words, these above codes; lower
    if other matching rules would lead to another action, higher if a code agrees. `rule_set`: the digest of the rules
    that were applied; `model:` and its digest if no rule matched and the model gave the category: then the confidence
    is a probability, and `asked` the digest of the rules. `shadow`: rules in shadow that matched too. `strength`: the
    winner's priority.
    """

    category: str
    rule: str | None
    matched: tuple[str, ...]
    confidence: float
    provider: str | None
    rule_set: str
    shadow: tuple[str, ...]
    stage: str | None
    asked: str | None = None
    strength: int = -1


class Classifier:
    """A rule set with the engine that finds its patterns, and a model for the rest. Thread-safe."""

    def __init__(
        self,
        rules: RuleSet,
        scan: Scan,
        providers: Providers,
        model: Model | None = None,
        *,
        remembered: int = MOST_REMEMBERED,
    ) -> None:
        """`remembered`: the maximum number of verdicts cached by the replies' skeletons."""
        self.rules = rules
        self.scan = scan
        self.providers = providers
        self.model = model
        self._guessed: dict[Reply, Guess | None] = {}
        # replies differ in names and numbers, rarely in the patterns that they contain
        self._settled: dict[tuple[object, ...], Verdict] = {}
        # the same few thousand replies recur
        self._skeleton = rules.skeletons.of
        self._remembered: dict[tuple[object, ...], Verdict] = {}
        self._most = remembered
        self._open_to_model = {None, *(rule.id for rule in rules.rules if _is_leftover(rule))}

    def classify(self, reply: Reply) -> Verdict:
        """Return the verdict on one refusal; `undetermined` if it says nothing usable."""
        return self.classify_all([reply])[0]

    def classify_all(self, replies: Sequence[Reply]) -> list[Verdict]:
        """Return the verdicts on many, each step over all of them: see `read_mails`."""
        words = [folded(reply[0]) for reply in replies]
        skeletons = [*map(self._skeleton, words)]
        keys = [(skeleton, *reply[1:]) for skeleton, reply in zip(skeletons, replies, strict=True)]
        known = [*map(self._remembered.get, keys)]
        if None in known:
            asked = zip(known, words, keys, replies, strict=True)
            known = [verdict or self._asked(text, key, reply) for verdict, text, key, reply in asked]
        verdicts = cast(list[Verdict], known)
        if self.model is None:
            return verdicts
        open_ = self._open_to_model
        return [
            self._by_model(verdict, reply) if verdict[1] in open_ else verdict  # by its rule
            for verdict, reply in zip(verdicts, replies, strict=True)
        ]

    def _asked(self, words: bytes, key: tuple[object, ...], reply: Reply) -> Verdict:
        """Return the engine's verdict, and cache it under its key."""
        found = self.scan(spaced(words) or b" ")  # rules may match a reply without words
        found.sort()  # by number: the result must not depend on the engine
        matches = (*found, *reply[1:])
        verdict = self._settled.get(matches)
        if verdict is None:
            if len(self._settled) >= MOST_SETTLED:
                self._settled.clear()
            verdict = self._settled[matches] = self._settle(found, reply)
        if self._most and len(words) <= _LONGEST:
            if len(self._remembered) >= self._most:
                self._remembered.clear()
            self._remembered[key] = verdict
        return verdict

    def _by_model(self, verdict: Verdict, reply: Reply) -> Verdict:
        """Return the model's verdict; the given one if the model is not sure, agrees, or has hardly a word to read."""
        model = self.model
        if model is None or not reply.text or (verdict.rule and len(reply.text) < _SAYS_LITTLE):
            return verdict
        known = reply._replace(provider=verdict.provider)
        if known not in self._guessed:
            if len(self._guessed) >= MOST_SETTLED:
                self._guessed.clear()
            self._guessed[known] = model.answer(known)
        guess = self._guessed[known]
        if guess is None or guess.category in _barred(verdict.stage, reply.reply_code, reply.enhanced):
            return verdict
        if verdict.rule and guess.category == verdict.category:
            return verdict
        by_model = f"model:{model.digest}"
        return verdict._replace(
            category=guess.category, rule=None, confidence=guess.confidence, rule_set=by_model, asked=verdict.rule_set
        )

    def _settle(self, found: Sequence[int], reply: Reply) -> Verdict:
        rules = self.rules
        listed = rules.rules
        candidates, silenced, known, barred = self._sorted(found, reply)
        holding = [number for number in candidates - silenced if _holds(listed[number], known, barred)]
        holding.sort(key=rules.rank.__getitem__, reverse=True)
        matched = [number for number in holding if not listed[number].shadow]
        shadow = tuple([listed[number].id for number in holding if listed[number].shadow])
        if not matched:
            return Verdict(UNDETERMINED, None, (), 0.0, known.provider, rules.digest, shadow, known.stage)
        won = listed[matched[0]]
        ids = tuple([listed[number].id for number in matched])
        sure = _confidence([listed[number] for number in matched])
        reasons = won.id, ids, sure, known.provider, rules.digest, shadow, known.stage, None
        return Verdict(won.category, *reasons, won.priority)

    def _sorted(self, found: Sequence[int], reply: Reply) -> tuple[set[int], set[int], Reply, frozenset[str]]:
        """Return rules supported by patterns and codes, rules excluded by patterns, what is known besides words, and
        the categories that a reply about our side cannot have."""
        for_: set[int] = set()
        against: set[int] = set()
        signs: dict[str, str] = {}
        for use in chain.from_iterable(map(self.rules.uses.__getitem__, found)):
            if use.sign is not None:
                signs.setdefault(use.sign.kind, use.sign.value)
            else:
                (against if use.against else for_).add(use.rule)
        code = reply.enhanced
        for key in (code, code and code.rpartition(".")[0], reply.reply_code and str(reply.reply_code)):
            for_.update(self.rules.by_code.get(key or "", ()))
        provider, stage = reply.provider or signs.get("provider"), reply.stage or signs.get("stage")
        barred = _ABOUT_RECIPIENT if "ours" in signs else _barred(stage, reply.reply_code, code)
        return for_, against, reply._replace(provider=provider, stage=stage), barred


def _is_leftover(rule: Rule) -> bool:
    """Whether the rule takes by a code what no words explain. Rules that people write by code are never among these."""
    bare = rule.priority <= _BARE and not rule.texts
    return bare and rule.category == "policy" and rule.layer is Layer.SHIPPED


def _barred(stage: str | None, reply_code: int | None, enhanced: str | None) -> frozenset[str]:
    """Return the categories that a reply cannot have, by the command that it answers and by its codes.

    A server that asks us to wait because of its systems, the network or its policy (4.3.x, 4.4.x, 4.7.x of RFC 3463)
    says nothing about a mailbox, whatever words it uses; neither does one whose code is about our side.
    """
    if stage == "connect" and reply_code in _TAKES_NO_MAIL:
        return _ABOUT_MAILBOX
    if reply_code in _TO_OUR_COMMANDS or _is_about_us(enhanced):
        return _ABOUT_RECIPIENT
    if reply_code not in _TEMPORARY:
        return _BARRED.get(stage or "", _NONE)
    elsewhere = enhanced is not None and enhanced[:4] in _ELSEWHERE
    return _BARRED.get(stage or "", _ABOUT_MAILBOX if elsewhere else _MOVED)


def _is_about_us(enhanced: str | None) -> bool:
    detail = enhanced and enhanced[2:]
    if not detail:
        return False
    return detail in _ABOUT_US or detail[:2] == "6." or (detail[:2] == "7." and detail not in _LOOSE_SECURITY)


def _holds(rule: Rule, known: Reply, barred: frozenset[str]) -> bool:
    """Whether all conditions of the rule other than its words hold. People's own rules may give any category."""
    if rule.category in barred and rule.layer is Layer.SHIPPED:
        return False
    if rule.providers and known.provider not in rule.providers:
        return False
    if rule.replies and not _within(rule.replies, known.reply_code):
        return False
    if rule.enhanced and not _says(rule.enhanced, known.enhanced):
        return False
    if rule.stages and known.stage not in rule.stages:
        return False
    return not rule.sources or known.source in rule.sources


def _within(ranges: Sequence[tuple[int, int]], code: int | None) -> bool:
    return code is not None and any(low <= code <= high for low, high in ranges)


def _says(wanted: frozenset[str], code: str | None) -> bool:
    return code is not None and (code in wanted or code.rpartition(".")[0] in wanted)


_ELSEWHERE = ("4.3.", "4.4.", "4.7.")
_TEMPORARY = range(420, 460)  # of RFC 5321 and its extensions; other numbers in a text are ports and errors of HTTP
_SURE = ((400, 0.95), (300, 0.9), (200, 0.75), (100, 0.5), (0, 0.4))


def _confidence(matched: Sequence[Rule]) -> float:
    won = matched[0]
    sure = next(value for least, value in _SURE if won.priority >= least)
    if len(matched) == 1:
        return sure
    action = CATEGORIES[won.category].action
    others = [rule for rule in matched[1:] if rule.priority >= 200]
    if any(CATEGORIES[rule.category].action is not action for rule in others):
        return round(sure - 0.2, 2)
    if any(rule.category == won.category and not rule.texts for rule in others):
        return round(min(sure + 0.05, 0.99), 2)
    return sure


def is_permanent(reply_code: int | None, enhanced: str | None) -> bool:
    """Whether the server said 5xx. A refusal that came back as a mail without any code counts as permanent.

    If both codes exist and disagree, one of them says that the refusal is temporary, and a mailbox that may come back
    is not dead: Exim reports 5.0.0 and PowerMTA 5.4.7 when they have given up after many a 450.
    """
    if reply_code in _TEMPORARY:
        return False
    if enhanced:
        return enhanced.startswith("5")
    return reply_code is None or reply_code >= 500
