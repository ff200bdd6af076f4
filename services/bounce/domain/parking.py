"""Owns the life of what is parked: a bar that waits until its provider is believed, or somebody decides."""

from libs.contracts.outcomes import Word


class ParkState(Word):
    PARKED = 0
    CONFIRMED = 1  # the provider said it again, at least a second proof later and with its breaker closed
    RELEASED = 2  # an operator believed the provider: the address was barred
    DROPPED = 3  # an operator did not, or there was a sign of life since
    EXPIRED = 4  # nothing was heard of the address for the whole time
