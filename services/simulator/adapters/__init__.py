"""The protocols of the simulator."""
