"""Idempotency-Key: whose it is, and what becomes of it if the first request ended without an answer of ours."""

import asyncpg
import httpx
import pytest

from libs.errors import Unavailable
from libs.idempotency import Idempotency
from tests.flows.test_http import BODY, calls, client

__all__ = ["client"]


async def test_another_callers_key_is_another_key(client: httpx.AsyncClient) -> None:
    headers = {"idempotency-key": "order-1"}
    ours = await client.post("/v1/things", json=BODY, headers=headers)
    other = await client.post("/v1/things", json=BODY, headers=headers | {"authorization": "Bearer dp_live_other"})
    assert (ours.json()["tenant"], other.json()["tenant"]) == (7, 8)
    assert calls == [1, 1]
    assert (await client.post("/v1/busy", headers=headers)).json() == "done"  # nor is it one elsewhere


async def test_an_answer_that_cannot_be_kept_is_still_the_answer(
    client: httpx.AsyncClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("Postgres does not answer")

    monkeypatch.setattr(Idempotency, "_keep", away)
    headers = {"idempotency-key": "order-7"}
    answer = await client.post("/v1/things", json=BODY, headers=headers)
    assert (answer.status_code, answer.json()["tenant"]) == (201, 7)
    monkeypatch.undo()
    again = await client.post("/v1/things", json=BODY, headers=headers)
    assert again.status_code == 409  # until the first request counts as abandoned
    connection = await asyncpg.connect(database)
    await connection.execute("update access.idempotency set created_at = now() - interval '61 seconds'")
    await connection.close()
    other = await client.post("/v1/things", json=BODY | {"number": 2}, headers=headers)
    assert (other.status_code, calls) == (409, [1])
    again = await client.post("/v1/things", json=BODY, headers=headers)
    assert (again.status_code, calls) == (201, [1, 1])
