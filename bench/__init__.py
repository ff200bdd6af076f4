"""Measurements: each a command with --help that ends in one line of JSON."""
