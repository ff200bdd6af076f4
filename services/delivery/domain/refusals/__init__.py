"""The sorted tables of providers' refusals: which is final, which may be tried again, which is our fault.

One module per provider, each a pure function from the reply to an outcome.
"""
