"""If-Match (RFC 9110 §13.1.1): nobody overwrites what somebody else has changed; every form of the header counts."""

import pytest
from starlette.requests import Request

from libs.errors import PreconditionFailed, PreconditionRequired
from libs.web import require_match


def passes(if_match: str | None, version: int | None) -> bool:
    headers = [] if if_match is None else [(b"if-match", if_match.encode())]
    try:
        require_match(Request({"type": "http", "headers": headers}), version)
    except PreconditionFailed:
        return False
    return True


@pytest.mark.parametrize("given", ['"7"', 'W/"7"', '"5", "7"', '"5",W/"7" , "9"', "*"])
def test_the_current_version_may_be_edited(given: str) -> None:
    assert passes(given, 7)


@pytest.mark.parametrize("given", ['"6"', 'W/"6"', '"5", "6"', "7", '"77"', '"*"', ""])
def test_another_version_may_not(given: str) -> None:
    assert not passes(given, 7)


def test_an_edit_needs_the_header() -> None:
    with pytest.raises(PreconditionRequired):
        passes(None, 7)


@pytest.mark.parametrize("given", [None, "*", " * "])
def test_what_does_not_exist_may_be_created(given: str | None) -> None:
    assert passes(given, None)


def test_a_version_of_what_no_longer_exists_is_refused() -> None:
    assert not passes('"7"', None)
