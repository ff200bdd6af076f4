"""How long to wait before the next attempt: exponential, with full jitter.

Full jitter (a uniform draw from nothing to the bound) spreads those that failed together the widest; see
Brooker, "Exponential Backoff And Jitter". Randomness is a parameter: a draw in [0, 1).
"""

from dataclasses import dataclass

_MAX_EXPONENT = 32  # 2^32 s is beyond every cap; larger exponents only make large floats


@dataclass(frozen=True, slots=True)
class Backoff:
    """Bounds of the waiting times in seconds: base, doubled with each attempt, up to the cap."""

    base_seconds: float = 2.0
    cap_seconds: float = 900.0

    def delay(self, attempt: int, draw: float, retry_after: float | None = None) -> float:
        """Seconds to wait after `attempt` (1 is the first).

        Where the provider named a time, it is kept and the jitter comes on top (a tenth of it at most,
        and at least a second's worth), so that all those told the same time do not return together.
        """
        if retry_after is not None:
            return retry_after + draw * max(1.0, retry_after / 10)
        exponent = min(max(attempt, 1) - 1, _MAX_EXPONENT)
        return draw * min(self.cap_seconds, self.base_seconds * 2.0**exponent)
