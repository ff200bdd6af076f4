"""Owns the identity of evidence: the same, however often and by whichever way it arrives."""

from uuid import UUID

from libs.ids import named

_NAMESPACE = UUID("0b3c5a52-57f5-4be5-9d1e-6a6a5b1f7d7e").bytes


def evidence_id(message: str, attempt: int, category: str) -> UUID:
    """Return the id of what was said about one attempt: a receipt and a bounce mail that agree are one fact."""
    return named(_NAMESPACE, f"{message}/{attempt}/{category}".encode())


def hearsay_id(message: str, address_hash: bytes, category: str) -> UUID:
    """Return the id of what the report about a message says about another address."""
    return named(_NAMESPACE, f"{message}/{address_hash.hex()}/{category}".encode())
