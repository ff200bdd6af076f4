"""The fast MAC equals the standard library's, so links and return paths already sent stay valid."""

import hmac

from hypothesis import given
from hypothesis import strategies as st

from libs.mac import Mac


@given(st.binary(max_size=200), st.lists(st.binary(max_size=300), max_size=3))
def test_a_mac_equals_the_standard_librarys(key: bytes, texts: list[bytes]) -> None:
    """Even for keys longer than a block, and for consecutive texts."""
    mac = Mac(key)
    assert [mac.digest(text) for text in texts] == [hmac.digest(key, text, "sha256") for text in texts]
