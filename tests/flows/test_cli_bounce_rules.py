"""Rules from the command line, against the real service: the page's examples run, and refusals have their exit code."""

import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cli.exits import Exit
from libs.auth import Principal
from libs.contracts.outcomes import Mode
from libs.service import Runtime
from services.bounce.app import create_service
from services.bounce.settings import BounceSettings
from tests.compiled import compiled_rules
from tests.flows.scripted_suite import KEY
from tests.shell import Shell, mounted, serving

PAGE = Path(__file__).parents[2] / "docs" / "bounces.md"
_FENCE = re.compile(r"^```(yaml|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RULES = ("bounce", "rules")


@pytest.fixture
async def shell(runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shell]:
    async def ask(key: str) -> Principal:
        return Principal(1, Mode.LIVE, "key-1", frozenset({"bounces:read", "rules:write", "rules:publish"}))

    compiled_rules()
    runtime.keys.ask = ask
    monkeypatch.chdir(tmp_path)
    with serving(mounted(create_service(runtime, BounceSettings(smtp_port=1)))) as url:
        yield Shell({"DEPESCHE_URL": url, **KEY})


async def test_the_page_does_what_it_says(shell: Shell, tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    fences = dict.fromkeys(_FENCE.findall(text[text.index("## Change the rules") :]))
    shown: dict[str, str] = {}
    for kind, block in fences:
        if kind == "yaml":
            (tmp_path / "house.yaml").write_text(block, encoding="utf-8")
            continue
        for line in block.splitlines():
            words = shlex.split(line.removeprefix("$ depesche "))
            shown[" ".join(words[:3])] = shell.run(*words).output
    assert "our-house-rule" in shown["bounce rules list"]
    assert "/contains/0 house rule" in shown["bounce rules test"]
    assert "policy" in shown["bounce rules test"]
    assert "Rule set 1 with 2 rules" in shown["bounce rules publish"]
    assert "number 2" in shown["bounce rules rollback"]


async def test_what_is_the_same_is_left_alone(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("id: one\ncategory: policy\ncontains: house rule\nreply: 550\nprovider: [gmail]\n")
    results = []
    for text in ("", "", "state: live\n", "state: live\nexamples: [the house rule]\n"):
        file.write_text(file.read_text().split("state")[0] + text)
        results.append(shell.json(*RULES, "apply", "rules.yaml")["outcomes"][0]["result"])
    assert results == ["created", "unchanged", "changed", "changed"]
    assert shell.json(*RULES, "show", "one")["reply"] == ["550"]
    assert [v["version"] for v in shell.json(*RULES, "show", "one", "--history")] == [3, 2, 1]


async def test_refusals_name_file_and_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("- id: one\n  category: policy\n  regex:\n    - house\n    - x+\n")
    refused = shell.run(*RULES, "apply", "rules.yaml", exit_code=Exit.REFUSED)
    assert "rules.yaml:5" in refused.output.replace("\n", "")
    assert "position 1" in refused.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("publish", "--note", "nothing is new"), Exit.CONFLICT),
        (("rollback", "9", "--note", "no such set"), Exit.NOT_FOUND),
        (("show", "nobody"), Exit.NOT_FOUND),
        (("retire", "unknown-user-code"), Exit.CONFLICT),
        (("test",), Exit.USAGE),
        (("test", "x", "--mail", "gone.eml"), Exit.USAGE),
        (("test", "--mail", "gone.eml"), Exit.USAGE),
        (("apply", "gone.yaml"), Exit.USAGE),
    ],
)
async def test_exit_codes(shell: Shell, words: tuple[str, ...], code: Exit) -> None:
    answer: Any = shell.json(*RULES, *words, exit_code=code)
    assert answer["exit_code"] == code


async def test_a_publication_is_refused_with_every_reason(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(
        "- {id: one, state: live, category: policy, contains: unheard of, examples: [user unknown]}\n"
        "- {id: two, state: live, category: policy, contains: user unknown}\n"
    )
    shell.run(*RULES, "apply", "rules.yaml")
    refused = shell.json(*RULES, "publish", "--note", "two things", exit_code=Exit.REFUSED)
    pointers = {error["pointer"] for error in refused["errors"]}
    assert "/rules/one/examples/0" in pointers
    assert len(pointers) > 2
    assert shell.json(*RULES, "sets")[0]["number"] == 0
