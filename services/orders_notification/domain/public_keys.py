"""Signatures of senders who publish a key instead of sharing a secret: RSA, ECDSA or Ed25519, as the key says."""

import base64
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
_HASHES: dict[str, Any] = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "sha512": hashes.SHA512}
_ED25519_BYTES = 32


def public_key(text: str) -> PublicKey:
    """Parse a key in base64 (the text between BEGIN PUBLIC KEY and END), or Ed25519's in hex. Raises ValueError."""
    if len(text) == 2 * _ED25519_BYTES:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    key = load_der_public_key(base64.b64decode(text, validate=True))
    if isinstance(key, PublicKey):
        return key
    raise ValueError("the key is not RSA, ECDSA or Ed25519")


def signs(key: PublicKey, signature: bytes, content: bytes, algorithm: str) -> bool:
    """Whether this key's owner signed this content."""
    try:
        match key:
            case Ed25519PublicKey():
                key.verify(signature, content)
            case RSAPublicKey():
                key.verify(signature, content, PKCS1v15(), _HASHES[algorithm]())
            case EllipticCurvePublicKey():
                key.verify(signature, content, ECDSA(_HASHES[algorithm]()))
    except InvalidSignature:
        return False
    return True
