"""Concurrent mails are stored in one batch; one that cannot be stored does not fail the others."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from libs.errors import Unavailable
from libs.ids import uuid7
from services.bounce.handlers.mails import keep_together
from services.bounce.ports.mails import Kept, Mail, Mails, NewMail

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)


class Store:
    """Records what it was asked to commit; `unfit` fails like a value that Postgres refuses."""

    def __init__(self, failure: Exception) -> None:
        self.commits: list[list[bytes]] = []
        self.failure = failure

    async def keep(self, mails: Sequence[NewMail]) -> list[Kept]:
        self.commits.append([mail.raw for mail in mails])
        if b"unfit" in self.commits[-1]:
            raise self.failure
        return [Kept(Mail(uuid7(), m.recipient, m.at, "waiting", None, None, 0, m.owner, m.raw), True) for m in mails]


def mail(raw: bytes) -> NewMail:
    return NewMail("bounce@example.com", raw, NOW)


def raws(told: Any) -> Any:
    return Unavailable if isinstance(told, Unavailable) else [kept.mail.raw for kept in told]


async def test_each_caller_gets_its_own_result() -> None:
    store = Store(ValueError())
    told = await keep_together(cast(Mails, store), [[mail(b"a"), mail(b"b")], [mail(b"c")]])
    assert [raws(one) for one in told] == [[b"a", b"b"], [b"c"]]
    assert store.commits == [[b"a", b"b", b"c"]]


async def test_an_unstorable_mail_is_refused_alone() -> None:
    store = Store(ValueError("no such value"))
    told = await keep_together(cast(Mails, store), [[mail(b"a")], [mail(b"unfit")], [mail(b"c")]])
    assert [raws(one) for one in told] == [[b"a"], Unavailable, [b"c"]]


async def test_an_outage_is_not_retried_mail_by_mail() -> None:
    store = Store(Unavailable("Postgres does not answer"))
    with pytest.raises(Unavailable):
        await keep_together(cast(Mails, store), [[mail(b"a")], [mail(b"unfit")]])
    assert len(store.commits) == 1
