"""Keys that services know from `access`: for five seconds, and no longer."""

import time
from types import SimpleNamespace

import httpx
import pytest

from libs import auth
from tests.flows.test_http import BODY, calls, client, revoked

__all__ = ["client"]


async def test_a_revoked_key_opens_nothing_five_seconds_later(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.post("/v1/things", json=BODY)).status_code == 201
    revoked.add("dp_live_good")
    later = time.monotonic() + 5.1
    monkeypatch.setattr(auth, "time", SimpleNamespace(monotonic=lambda: later))
    assert (await client.post("/v1/things", json=BODY)).status_code == 401
    assert calls == [1]
