"""Tables of providers' refusals: which are final, which may be retried, which are our fault.

One module per provider, each a pure function from the reply to an outcome.
"""
