"""The short way to sign gives what the standard library gives, so links and return paths already out stay good."""

import hmac

from hypothesis import given
from hypothesis import strategies as st

from libs.mac import Mac


@given(st.binary(max_size=200), st.lists(st.binary(max_size=300), max_size=3))
def test_a_mac_is_the_standard_librarys(key: bytes, texts: list[bytes]) -> None:
    """Also for keys longer than a block, and for one text after another."""
    mac = Mac(key)
    assert [mac.digest(text) for text in texts] == [hmac.digest(key, text, "sha256") for text in texts]
