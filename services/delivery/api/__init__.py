"""HTTP in: parse, call, shape the answer."""
