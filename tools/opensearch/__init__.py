"""Generates `opensearch/` from the mapping in code and from readable definitions.

Run python -m tools.opensearch to write it; a test compares the files with the result.
"""
