"""Which text a customer gets: the chain of locales from what they speak to what the tenant always has.

de-AT → de → the tenant's default (BCP 47 look-up, RFC 4647 §3.4, with the default as its last resort).
"""

from collections.abc import Collection


def locale_chain(wanted: str | None, available: Collection[str], default: str) -> tuple[str, ...]:
    """The available locales for somebody who speaks `wanted`, the best first; empty where not even the default is."""
    chain: dict[str, None] = {}
    for tag in (wanted or "", default):
        parts = tag.replace("_", "-").split("-")
        while parts and parts[0]:
            if (candidate := "-".join(parts)) in available:
                chain[candidate] = None
            parts.pop()
    return tuple(chain)
