"""What a fact leads to: suppression at once, on a second proof, by a score, after a DNS lookup, or nothing."""

from datetime import UTC, date, datetime, timedelta
from itertools import count, permutations
from uuid import UUID

import pytest

from libs.contracts.outcomes import Scope
from libs.contracts.reasons import Reason
from services.bounce.domain.categories import CATEGORIES, Action
from services.bounce.domain.policy import Bars, Contact, History, Leaves, Policy, Proof, Verdict, Waits, decide

NOON = datetime(2027, 3, 10, 12, tzinfo=UTC)
POLICY = Policy(trusted_providers=frozenset({"gmail"}))
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NOTHING = History()
_ids = count(1)


def said(
    category: str = "unknown-user", ago: timedelta = timedelta(), provider: str = "gmail", **more: object
) -> Proof:
    return Proof(UUID(int=next(_ids)), NOON - ago, category, True, provider, **more)  # type: ignore[arg-type]


def accepted(*days_ago: int, read_days_ago: int | None = None) -> Contact:
    """A contact that accepted mails so many days before NOON."""
    newest = min(days_ago, default=0)
    bits = sum(1 << (n - newest) for n in days_ago)
    read_on = None if read_days_ago is None else NOON.date() - read_days_ago * DAY
    return Contact(NOON.date() - newest * DAY, bits, read_on)


def verdict(fact: Proof, history: History = NOTHING, policy: Policy = POLICY, now: datetime = NOON) -> Verdict:
    return decide(fact, history, policy, now)


def test_a_complaint_suppresses_marketing_at_once() -> None:
    fact = said("complaint")
    assert verdict(fact) == Bars(Scope.MARKETING, Reason.SUPPRESSED_COMPLAINT, "complaint", (fact.id,))


def test_an_unsubscribe_is_consent_and_suppresses_nothing_here() -> None:
    assert verdict(said("unsubscribe")) == Leaves("consent")


@pytest.mark.parametrize("category", ["unknown-user", "inactive", "moved"])
def test_a_trusted_provider_suppresses_a_mailbox_at_once(category: str) -> None:
    fact = said(category)
    assert verdict(fact) == Bars(Scope.ALL, Reason.SUPPRESSED_BOUNCE, "trusted-provider", (fact.id,))


def test_an_untrusted_provider_needs_a_second_proof() -> None:
    assert verdict(said(provider="small")) == Waits("second-proof")
    assert verdict(said(provider="")) == Waits("second-proof")
    assert isinstance(verdict(said(provider="small"), policy=Policy(trusted_providers=frozenset("*"))), Bars)


@pytest.mark.parametrize(
    ("apart", "bars"),
    [(HOUR, False), (23 * HOUR, False), (24 * HOUR, True), (20 * DAY, True), (62 * DAY, True), (63 * DAY, False)],
)
def test_a_second_proof_must_be_a_day_apart_and_recent(apart: timedelta, bars: bool) -> None:
    first, second = said(ago=apart, provider="small"), said(provider="small")
    found = verdict(second, History((first, second)))
    assert found == (
        Bars(Scope.ALL, Reason.SUPPRESSED_BOUNCE, "second-proof", (first.id, second.id))
        if bars
        else Waits("second-proof")
    )


def test_proofs_may_arrive_in_any_order() -> None:
    facts = [said(ago=3 * DAY, provider="small"), said(ago=HOUR, provider="small")]
    for order in permutations(facts):
        found = verdict(order[1], History(tuple(order)))
        assert isinstance(found, Bars)
        assert found.evidence == tuple(fact.id for fact in facts)


def test_after_a_recent_delivery_even_a_trusted_provider_needs_two() -> None:
    assert verdict(said(), History(contact=accepted(0, 4))) == Waits("second-proof")
    assert verdict(said(in_session=True), History(contact=accepted(4))) == Waits("second-proof")
    assert isinstance(verdict(said(), History(contact=accepted(0, 50))), Bars)


def test_an_accepted_mail_is_not_yet_a_delivery() -> None:
    # our relay accepts everything; the bounce of this very mail follows
    assert isinstance(verdict(said(), History(contact=accepted(0))), Bars)
    assert isinstance(verdict(said(), History(contact=accepted(1))), Bars)


def test_a_mail_that_nothing_answered_for_a_day_was_delivered() -> None:
    refused, midnight = said(in_session=True), NOON.replace(hour=0)
    waits = History(contact=accepted(2))  # accepted on the 8th, and unanswered until the end of the 9th
    assert isinstance(verdict(refused, waits, now=midnight - timedelta(seconds=1)), Bars)
    assert verdict(refused, waits, now=midnight) == Waits("second-proof")


@pytest.mark.parametrize(("days", "answers"), [(5, True), (6, False)])
def test_a_bounce_answers_a_mail_that_may_have_waited_in_a_queue_for_five_days(days: int, answers: bool) -> None:
    found = verdict(said(), History(contact=accepted(days)))
    assert isinstance(found, Bars) is answers


def test_an_accepted_mail_that_bounced_later_is_no_delivery() -> None:
    late = said("mailbox-full", ago=3 * DAY)
    assert isinstance(verdict(said(), History((late,), accepted(0, 4))), Bars)
    assert verdict(said(), History((late,), accepted(0, 4, 5))) == Waits("second-proof")
    assert verdict(said(), History((late,), accepted(0, 20))) == Waits("second-proof")


def test_an_opening_counts_longer_and_even_after_the_fact() -> None:
    assert verdict(said(), History(contact=accepted(read_days_ago=80))) == Waits("second-proof")
    assert isinstance(verdict(said(), History(contact=accepted(read_days_ago=100))), Bars)
    heard_late = said(ago=2 * DAY)
    assert verdict(heard_late, History(contact=accepted(read_days_ago=1))) == Waits("alive")


def test_a_sign_of_life_between_two_proofs_cancels_the_first() -> None:
    first, second = said(ago=10 * DAY, provider="small"), said(provider="small")
    assert verdict(second, History((first,), accepted(0, 5))) == Waits("second-proof")
    assert verdict(second, History((first,), accepted(read_days_ago=5))) == Waits("second-proof")
    assert isinstance(verdict(second, History((first,), accepted(0, 12))), Bars)


def test_facts_of_the_future_do_not_count() -> None:
    first = said(ago=2 * DAY, provider="small")
    later = History((said(provider="small"),), accepted(0, read_days_ago=0))
    assert verdict(first, later, now=NOON - 2 * DAY) == Waits("second-proof")


def test_a_temporary_reply_never_suppresses_a_mailbox() -> None:
    soft = Proof(UUID(int=1), NOON, "unknown-user", False, "gmail")
    assert verdict(soft) == Leaves("passing")


def test_after_a_lift_older_proofs_are_ignored() -> None:
    first, second = said(ago=3 * DAY, provider="small"), said(provider="small")
    assert verdict(second, History((first,), lifted={Scope.ALL: NOON - DAY})) == Waits("second-proof")
    assert isinstance(verdict(second, History((first,), lifted={Scope.MARKETING: NOON - DAY})), Bars)
    known = History((first,), lifted={Scope.ALL: first.at})
    assert verdict(second, known) == Waits("second-proof")


def test_an_uncertain_reply_needs_confirmation_a_day_later() -> None:
    doubtful = said(ago=3 * HOUR, doubtful=True)
    assert verdict(said(), History((doubtful,))) == Waits("second-proof")
    assert isinstance(verdict(said(), History((said(ago=25 * HOUR, doubtful=True),))), Bars)


@pytest.mark.parametrize("category", ["mailbox-full", "recipient-filter"])
def test_three_distinct_days_in_fourteen_suppress_marketing(category: str) -> None:
    def days(*ago: float) -> Verdict:
        facts = tuple(said(category, n * DAY) for n in sorted(ago, reverse=True))
        return verdict(facts[-1], History(facts))

    assert days(0, 1) == Waits("score")
    assert days(0, 0.1, 0.2, 1) == Waits("score")
    assert days(0, 8, 14) == Waits("score")
    found = days(0, 6, 13)
    assert isinstance(found, Bars)
    assert (found.scope, found.policy, len(found.evidence)) == (Scope.MARKETING, "score", 3)


def test_days_of_a_full_mailbox_and_of_a_filter_do_not_add_up() -> None:
    facts = tuple(said(category, n * DAY) for n, category in ((2, "mailbox-full"), (1, "recipient-filter")))
    last = said("mailbox-full")
    assert verdict(last, History((*facts, last))) == Waits("score")


def test_a_delivery_resets_the_score() -> None:
    facts = tuple(said("mailbox-full", n * DAY) for n in (8, 7, 0))
    assert isinstance(verdict(facts[-1], History(facts)), Bars)
    assert verdict(facts[-1], History(facts, accepted(0, 4, 7, 8))) == Waits("score")


def test_a_dead_domain_is_checked_where_it_is_known() -> None:
    assert verdict(said("bad-domain", domain="gone.example")) == Waits("domain-check", asks="gone.example")
    assert verdict(said("bad-domain")) == Waits("second-proof")  # whichever provider reports it, trusted or not
    assert isinstance(verdict(said("bad-domain"), History((said("bad-domain", 2 * DAY),))), Bars)


def test_a_block_suppresses_no_address() -> None:
    for name, category in CATEGORIES.items():
        if category.group == "block" and name != "recipient-filter":
            assert verdict(said(name), History(tuple(said(name, n * DAY) for n in range(9)))) == Leaves("sender")


def test_an_unproven_mention_of_an_address_changes_nothing() -> None:
    assert verdict(said(proven=False)) == Leaves("hearsay")
    assert verdict(said(provider="small"), History((said(ago=2 * DAY, proven=False),))) == Waits("second-proof")


def test_only_suppressing_or_counting_categories_suppress() -> None:
    for name, category in CATEGORIES.items():
        facts = tuple(said(name, n * DAY) for n in (3, 2, 1, 0))
        bars = isinstance(verdict(facts[-1], History(facts)), Bars)
        assert bars == (category.action in (Action.SUPPRESS, Action.COUNT) and name != "unsubscribe"), name


def test_contact_bits_are_days() -> None:
    assert list(Contact(date(2027, 3, 10), 0b1001).accepted_days()) == [date(2027, 3, 10), date(2027, 3, 7)]
