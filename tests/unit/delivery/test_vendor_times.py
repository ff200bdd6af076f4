"""Promise: a vendor webhook's time is refused, not failed on, if no calendar has it."""

import pytest

from libs.errors import Unauthorized
from services.delivery.adapters.vendors.reading import seconds


@pytest.mark.parametrize("text", ["", "-1", "1.5", "²", "999999999999", "253402300800", "9" * 30])
def test_a_signed_time_that_no_calendar_has_is_not_authenticated(text: str) -> None:
    """Anybody may send one: it is read before the signature is compared."""
    with pytest.raises(Unauthorized):
        seconds(text)
