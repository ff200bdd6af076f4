"""Values and rules of the simulator, without I/O."""
