"""Values and rules of intake and communications: pure, synchronous, no clock, no I/O."""
