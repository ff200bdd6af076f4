"""An expression with signs finds what it would find without them."""

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice, product
from random import Random
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from services.bounce.domain import kinds, outcome, own_words, reports, told
from services.bounce.domain.signs import Signed
from tests.unit.bounce.test_told import FORMS

_ROOMS = (kinds, outcome, own_words, reports, told)
_EVERY = {name: value for room in _ROOMS for name, value in vars(room).items() if type(value) is Signed}
_MOST = 5_000


def _found_by(tree: Iterable[Any]) -> Iterator[str]:
    """Texts that an expression matches: each alternative, with and without each optional part."""
    return ("".join(pieces) for pieces in product(*(list(_of_one(op, value)) for op, value in tree)))


def _of_one(op: Any, value: Any) -> Iterator[str]:
    if op is sre.LITERAL:
        yield chr(value)
    elif op is sre.BRANCH:
        for branch in value[1]:
            yield from _found_by(branch)
    elif op is sre.SUBPATTERN:
        yield from _found_by(value[3])
    elif op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        least, most, inner = value
        for times in {least, min(least + 1, most)}:
            yield from (one * times for one in _found_by(inner))
    elif op is sre.IN:
        kind, first = value[0]
        yield chr(first) if kind is sre.LITERAL else " " if kind is sre.CATEGORY else "x"
    elif op in (sre.ANY, sre.NOT_LITERAL):
        yield "x"
    else:
        yield ""


@pytest.mark.parametrize("name", sorted(_EVERY))
def test_every_match_of_an_expression_contains_a_sign(name: str) -> None:
    signed = _EVERY[name]
    texts = list(islice(_found_by(_parser.parse(signed.expression.pattern, re.I)), _MOST))

    assert len(texts) > len(signed.signs) // 2
    for text in texts:
        assert signed.expression.search(text), text
        assert signed.search(text.upper()), text
        assert signed.may_be_in(text.split("\n")[0]), text  # searched line by line


def test_a_text_without_a_sign_is_not_searched() -> None:
    signed = Signed(("parcel",), re.compile("(?:a|the) parcel", re.I))

    assert signed.search("the Parcel")
    assert len(list(signed.finditer("a PARCEL, the parcel"))) == 2
    assert signed.search("a letter") is None
    assert not list(signed.finditer("a letter"))


@pytest.mark.parametrize("name", ["_STILL_TRIED", "_GOES_ON_ABROAD", "_ARRIVED", "_LATE"])
def test_no_usual_report_of_a_failure_contains_a_sign_of_another_outcome(name: str) -> None:
    assert [form for form, text in FORMS.items() if _EVERY[name].may_be_in(text)] == []


@pytest.mark.parametrize("name", sorted(_EVERY))
def test_lines_of_returns_exactly_the_lines_with_a_sign(name: str) -> None:
    signed = _EVERY[name]
    words = (
        *signed.signs,
        *(sign.upper() for sign in signed.signs),
        "\n",
        "\n\n",
        "İ",
        "ß ",
        "no sign ",
        signed.signs[0][:-1],
    )
    chance = Random(name)
    for _ in range(300):
        text = "".join(chance.choices(words, k=chance.randint(0, 60)))
        begins = accumulate((len(line) + 1 for line in text.split("\n")), initial=0)
        lines = zip(begins, text.split("\n"), strict=False)

        assert [*signed.lines_of(text)] == [begin for begin, line in lines if signed.may_be_in(line)]
