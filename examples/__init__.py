"""Worked examples; each runs."""
