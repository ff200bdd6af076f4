"""Measurements: each is a command with --help that ends in one line of JSON."""
