"""The simulator's values and rules, without I/O."""
