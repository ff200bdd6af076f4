"""Worked examples; all of them run."""
