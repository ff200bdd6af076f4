"""Tables of providers' refusals: which are final, which may be retried, which are our fault.

One module per provider, each a pure function from the reply to an outcome.
"""


def is_page(body: bytes) -> bool:
    """Whether a reply that should be JSON is an HTML page of a proxy or a login, whatever its status."""
    return body.lstrip()[:1] == b"<"
