"""Problem documents tell a caller when to come back."""

import pytest

from libs.errors import Conflict, TooManyRequests, Unavailable
from libs.web import problem_response


@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (7, "7"), (90, "90")])
def test_who_should_come_back_later_is_told_in_how_many_seconds(seconds: float, header: str) -> None:
    for error in (Unavailable("Away.", retry_after=seconds), TooManyRequests("Too fast.", retry_after=seconds)):
        assert problem_response(error).headers["retry-after"] == header
    assert "retry-after" not in problem_response(Conflict("It is there.")).headers
