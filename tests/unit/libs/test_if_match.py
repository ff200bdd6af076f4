"""Promise: nobody overwrites an edit that they have not seen, in whichever form their client writes If-Match."""

import pytest
from starlette.requests import Request

from libs.errors import PreconditionFailed, PreconditionRequired
from libs.web import etag, require_match


def ask(if_match: str | None, version: int | None) -> None:
    headers = [] if if_match is None else [(b"if-match", if_match.encode())]
    require_match(Request({"type": "http", "headers": headers}), version)


def may(if_match: str | None, version: int | None) -> bool:
    try:
        ask(if_match, version)
    except PreconditionFailed:
        return False
    return True


@pytest.mark.parametrize("if_match", ['"3"', 'W/"3"', '"2", "3"', ' "1",W/"3" , "9"', "*", '"7", *'])
def test_the_version_that_was_read_may_be_edited(if_match: str) -> None:
    assert may(if_match, 3)


@pytest.mark.parametrize("if_match", ['"2"', '"33"', "3", 'W/"2"', '"1", "2"', '"*"', ""])
def test_another_version_may_not(if_match: str) -> None:
    with pytest.raises(PreconditionFailed, match='the current version is "3"'):
        ask(if_match, 3)


def test_an_edit_without_if_match_is_told_the_version() -> None:
    with pytest.raises(PreconditionRequired, match=f"Send If-Match: {etag(3)}"):
        ask(None, 3)


@pytest.mark.parametrize("if_match", [None, "*", " * "])
def test_creating_needs_no_if_match(if_match: str | None) -> None:
    assert may(if_match, None)


def test_what_was_deleted_meanwhile_is_not_created_again_by_an_edit() -> None:
    with pytest.raises(PreconditionFailed, match="no longer exists"):
        ask('"3"', None)
