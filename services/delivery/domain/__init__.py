"""Values, state machines and rules of delivery: pure, synchronous, no clock, no I/O."""
