"""How long to wait before the next attempt: exponential, with full jitter.

Full jitter (a uniform draw from nothing to the bound) spreads messages that failed together the widest; see Brooker,
"Exponential Backoff And Jitter". Randomness is a parameter: a draw in [0, 1).
"""

from dataclasses import dataclass

_MAX_EXPONENT = 32  # 2^32 s is beyond every cap; larger exponents only make large floats


@dataclass(frozen=True, slots=True)
class Backoff:
    """Bounds of the waiting times in seconds: base, doubled with each attempt, up to the cap."""

    base_seconds: float = 2.0
    cap_seconds: float = 900.0

    def delay(self, attempt: int, draw: float, retry_after: float | None = None) -> float:
        """Return the seconds to wait after `attempt` (1 is the first).

        If the provider named a time, it is respected and the jitter added on top (at most a tenth of it, but at
        least up to a second), so that messages with the same time do not return together."""
        if retry_after is not None:
            return retry_after + draw * max(1.0, retry_after / 10)
        exponent = min(max(attempt, 1) - 1, _MAX_EXPONENT)
        return draw * min(self.cap_seconds, self.base_seconds * 2.0**exponent)
