"""The tree of errors. Two renderers use it: HTTP (libs.service) and the bus (libs.messaging).

    DepescheError
    ├── Transient            503, Retry-After   bus: retry later
    │   ├── Unavailable      503
    │   └── TooManyRequests  429
    ├── Permanent            4xx                bus: dead letter with the reason
    │   ├── BadRequest 400 · Unauthorized 401 · Forbidden 403 · NotFound 404
    │   ├── RequestTimeout 408 · Conflict 409 · PreconditionFailed 412 · TooLarge 413 · UnsupportedMedia 415
    │   └── Invalid 422 · PreconditionRequired 428
    └── Duplicate            200                bus: success

`detail` is a sentence for people: what is wrong and what to do. `pointer` is a JSON Pointer (RFC 6901) to the field.
Rendered as an RFC 9457 problem.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

PROBLEM_BASE = "https://depesche.dev/problems/"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field: where (JSON Pointer, or a query or header name) and why."""

    pointer: str
    detail: str

    @property
    def told(self) -> str:
        """The reason with its place, for where nothing else shows the place."""
        return f"{self.pointer}: {self.detail}" if self.pointer else self.detail


class DepescheError(Exception):
    """Base of all errors that we raise on purpose."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong on our side"

    def __init__(self, detail: str, *, pointer: str | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors: tuple[FieldError, ...] = (FieldError(pointer, detail),) if pointer is not None else ()
        self.extra = extra

    def problem(self) -> dict[str, Any]:
        """Return the RFC 9457 document."""
        document: dict[str, Any] = {
            "type": PROBLEM_BASE + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = [{"pointer": e.pointer, "detail": e.detail} for e in self.errors]
        return document | self.extra


class Transient(DepescheError):
    """It may work later: retried on the bus, 503 with Retry-After over HTTP."""

    status = 503
    slug = "unavailable"
    title = "Not available right now"

    def __init__(self, detail: str, *, retry_after: float = 1.0, **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.retry_after = retry_after


class Unavailable(Transient):
    """A dependency does not respond."""


class TooManyRequests(Transient):
    """The caller exceeds its rate."""

    status = 429
    slug = "too-many-requests"
    title = "Too many requests"


class Permanent(DepescheError):
    """It will never work as it is: dead letter on the bus, 4xx over HTTP."""

    status = 400
    slug = "bad-request"
    title = "The request could not be read"


class BadRequest(Permanent):
    """Unreadable: malformed JSON, a wrong header."""


class Unauthorized(Permanent):
    """An unknown caller: no key, a wrong one, a wrong signature."""

    status = 401
    slug = "unauthorized"
    title = "Not authenticated"


class Forbidden(Permanent):
    """A known caller without permission."""

    status = 403
    slug = "forbidden"
    title = "Not allowed"


class NotFound(Permanent):
    """No such object for this tenant and mode."""

    status = 404
    slug = "not-found"
    title = "Not found"


class Conflict(Permanent):
    """It contradicts the current state."""

    status = 409
    slug = "conflict"
    title = "Conflicts with the current state"


class PreconditionFailed(Permanent):
    """If-Match names a version that is no longer current: somebody else changed it first."""

    status = 412
    slug = "precondition-failed"
    title = "Changed by somebody else in the meantime"


class RequestTimeout(Permanent):
    """The client stopped in the middle of its request."""

    status = 408
    slug = "request-timeout"
    title = "The request is incomplete"


class TooLarge(Permanent):
    """The body is larger than the route accepts."""

    status = 413
    slug = "too-large"
    title = "Too large"


class UnsupportedMedia(Permanent):
    """A content type that the route does not accept."""

    status = 415
    slug = "unsupported-media-type"
    title = "Content type not supported"


class Invalid(Permanent):
    """Readable, but with invalid fields; the error names all of them."""

    status = 422
    slug = "invalid"
    title = "Some fields are not valid"

    @classmethod
    def many(cls, errors: Sequence[FieldError]) -> "Invalid":
        """Return one error for all the problems found."""
        first = errors[0].detail if len(errors) == 1 else f"{len(errors)} fields are not valid; see errors"
        invalid = cls(first)
        invalid.errors = tuple(errors)
        return invalid


class PreconditionRequired(Permanent):
    """An edit without If-Match could overwrite somebody else's."""

    status = 428
    slug = "precondition-required"
    title = "If-Match is missing"


class Duplicate(DepescheError):
    """It was done before: success, and nothing is done again."""

    status = 200
    slug = "duplicate"
    title = "Already done"
