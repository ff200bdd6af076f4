"""Ids and names on the command line: each is one part of a path, and none leads to another."""

import pytest

from cli.exits import Exit
from tests.flows.scripted_suite import ScriptedSuite
from tests.shell import Shell

BY_ID = (
    ("messages", "show", "@"),
    ("recipients", "show", "@"),
    ("recipients", "erase", "@", "--yes"),
    ("deadletters", "show", "@", "--service", "delivery"),
    ("keys", "revoke", "@"),
    ("keys", "rotate", "@"),
    ("topics", "set", "@"),
    ("templates", "show", "@"),
    ("communications", "retire", "@", "--yes"),
    ("event-types", "show", "@"),
    ("sources", "show", "@"),
    ("suppressions", "show", "@"),
    ("suppressions", "lift", "@", "--note", "n"),
    ("bounce", "believe", "@", "--note", "n"),
    ("bounce", "drop", "@", "--note", "n"),
    ("bounce", "reclassify", "@"),
    ("bounce", "reports", "make-rule", "@"),
    ("bounce", "rules", "show", "@"),
    ("bounce", "webhooks", "delete", "@", "--yes"),
    ("bounce", "webhooks", "rotate", "@"),
)


@pytest.mark.parametrize("words", BY_ID, ids=" ".join)
@pytest.mark.parametrize("id_", ["a?limit=1#b %2e\n", "..", ""])
def test_an_id_never_leads_to_another_path(
    suite: ScriptedSuite, shell: Shell, words: tuple[str, ...], id_: str
) -> None:
    got = shell.run(*(id_ if word == "@" else word for word in words), exit_code=None)

    paths = [path for _, path, _, _ in suite.asked]
    if id_.strip("."):
        assert all(id_ in path for path in paths)
    else:
        assert set(paths) <= ({f"/tokens/v1/recipients/customer:{id_}"} if id_ else set())  # a bare id is a customer's
    assert paths or (got.exit_code is Exit.USAGE and "not an id or a name" in got.stderr)
    assert not any(suite.queries)


@pytest.mark.parametrize("words", [("events", "show"), ("cancel",)])
@pytest.mark.parametrize("id_", ["e-1", "B-100045", "../senders", ""])
def test_the_shops_own_id_is_refused_with_the_way_to_ours(
    suite: ScriptedSuite, shell: Shell, words: tuple[str, ...], id_: str
) -> None:
    assert "events list --subject" in shell.run(*words, id_, exit_code=Exit.USAGE).stderr
    assert suite.asked == []


def test_a_slash_in_an_id_is_refused_unless_such_ids_exist(suite: ScriptedSuite, shell: Shell) -> None:
    shell.run("messages", "show", "../senders", exit_code=Exit.USAGE)
    assert suite.asked == []

    shell.run("recipients", "show", "customer:a/../b", exit_code=Exit.NOT_FOUND)
    assert [path for _, path, _, _ in suite.asked] == ["/tokens/v1/recipients/customer:a/../b"]
