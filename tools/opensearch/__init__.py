"""What lies in `opensearch/`, made of the mapping in code and of definitions that people can read.

python -m tools.opensearch writes it; a test compares it with what would be written.
"""
