"""What a service remembers of the keys that it has verified."""

import pytest

from libs.auth import KeyVerifier, Principal
from libs.contracts.outcomes import Mode
from libs.errors import Unauthorized

KEY = "dp_live_" + "a" * 16 + "_" + "s" * 52


async def test_a_remembered_key_lets_no_other_secret_of_its_id_in() -> None:
    async def ask(key: str) -> Principal:
        if key != KEY:
            raise Unauthorized("This API key is unknown.")
        return Principal(7, Mode.LIVE, "a" * 16, frozenset({"admin"}))

    verifier = KeyVerifier(ask)
    assert (await verifier.verify(KEY)).tenant == 7
    with pytest.raises(Unauthorized):
        await verifier.verify(KEY[:-1] + "t")
