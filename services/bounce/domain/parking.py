"""Owns the life of a parked bar, which waits until its provider is believed, or somebody decides."""

from libs.contracts.outcomes import Word


class ParkState(Word):
    PARKED = 0
    CONFIRMED = 1  # a second proof arrived later, with the provider's breaker closed
    RELEASED = 2  # an operator believed the provider: the address was barred
    DROPPED = 3  # an operator did not, or there was a sign of life since
    EXPIRED = 4  # nothing further arrived about the address in the whole time
