"""Access tokens for FCM: fetched off the loop, shared, and renewed before they expire."""

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Protocol

import requests
from firebase_admin import credentials as firebase
from google.auth import exceptions
from google.auth.transport import requests as google_requests

from libs.contracts.reasons import Reason
from services.delivery.domain.outbound import FcmAccount
from services.delivery.domain.outcomes import Deferred

_RENEW_SECONDS = 300.0  # before its expiry
_AGAIN_SECONDS = 5.0  # between two renewal attempts, so that an outage of Google's login does not cause a flood
_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


class TokenSource(Protocol):
    """Source of the bearer token."""

    async def bearer(self) -> str | Deferred:
        """Return the token, or why there is none."""
        ...

    def refuse(self, token: str) -> None:
        """FCM rejected this token: fetch another."""
        ...


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A fixed token, for the simulator."""

    token: str

    async def bearer(self) -> str | Deferred:
        return self.token

    def refuse(self, token: str) -> None:
        """There is no other token."""


class ServiceAccountToken:
    """OAuth 2.0 with a service account. `ca_file`: for a private authority between us and Google."""

    def __init__(self, account_json: str, ca_file: str | None = None, *, longest_wait_seconds: float = 5.0) -> None:
        self._longest_wait = longest_wait_seconds
        certificate = firebase.Certificate(json.loads(account_json))
        self._credentials: Any = certificate.get_credential().with_scopes([_SCOPE])
        self._session = requests.Session()
        if ca_file is not None:
            self._session.verify = ca_file
            self._session.trust_env = False  # REQUESTS_CA_BUNDLE would take precedence
        self._token: str | None = None
        self._good_until = 0.0
        self._again_at = 0.0
        self._failure = Deferred(Reason.PROVIDER_UNAVAILABLE, "no access token yet", called=False)
        self._renewing: asyncio.Task[None] | None = None

    async def bearer(self) -> str | Deferred:
        """At most one renewal runs at a time; while the old token is valid, nobody waits for it."""
        now = time.monotonic()
        if self._token is not None and now < self._good_until - _RENEW_SECONDS:
            return self._token
        if self._renewing is None and now >= self._again_at:
            self._renewing = asyncio.create_task(self._renew())
        if now >= self._good_until:
            self._token = None
        if self._token is not None:
            return self._token
        if self._renewing is not None:
            await asyncio.wait([self._renewing], timeout=self._longest_wait)
        return self._token if self._token is not None else self._failure

    def refuse(self, token: str) -> None:
        if token == self._token:
            self._token = None

    async def _renew(self) -> None:
        try:
            lifetime = await asyncio.to_thread(self._refresh)
        except exceptions.RefreshError as error:
            self._failed(_said(error), our_fault=not error.retryable)
        except exceptions.GoogleAuthError as error:
            self._failed(_said(error))
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            # google-auth takes any success for its JSON: a proxy's page, a list, a lifetime that is not a number
            self._failed(f"the response cannot be read ({type(error).__name__})")
        else:
            self._token = str(self._credentials.token)
            self._good_until = time.monotonic() + lifetime
        finally:
            self._renewing = None

    def _failed(self, text: str, *, our_fault: bool = False) -> None:
        reason = Reason.SENDER_MISCONFIGURED if our_fault else Reason.PROVIDER_UNAVAILABLE
        self._failure = Deferred(reason, f"Google's login: {text}"[:500], called=False, sender_fault=our_fault)
        self._again_at = time.monotonic() + _AGAIN_SECONDS

    def _refresh(self) -> float:
        """Refresh the token (blocking) and return its lifetime in seconds."""
        before = time.time()
        self._credentials.refresh(google_requests.Request(self._session))
        expiry = self._credentials.expiry  # naive, in UTC
        if expiry is None:
            return 3_600.0
        return max(0.0, float(expiry.replace(tzinfo=UTC).timestamp()) - before)


def _said(error: exceptions.GoogleAuthError) -> str:
    return str(error.args[0] if error.args else error)  # the second argument is the whole response, with its tokens


def token_source(account: FcmAccount) -> TokenSource:
    """Parse the service account. Raises ValueError if it is invalid."""
    if account.static_token is not None:
        return StaticToken(account.static_token)
    if account.credentials is None:
        raise ValueError("the sender has neither a service account nor a token")
    return ServiceAccountToken(account.credentials, account.ca_file)
