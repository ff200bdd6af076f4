"""All keys from one secret, derived by purpose (HKDF, RFC 5869), so that no key can stand in for another."""

import os
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from libs.errors import Permanent

_NONCE_BYTES = 12
_NONCES_AT_ONCE = 256


class NotOpenable(Permanent):
    """The data was sealed with another key, for another context, or changed."""

    slug = "not-openable"
    title = "Sealed data cannot be opened"


class Keyring:
    """Keys derived from the suite's root secret (32 bytes or more). Purposes are constants of the code."""

    def __init__(self, root: bytes) -> None:
        if len(root) < 32:
            raise ValueError("the root secret needs at least 32 bytes")
        self._root = root
        self.key = lru_cache(maxsize=64)(self._derive)
        self._cipher = lru_cache(maxsize=64)(lambda purpose: AESGCM(self.key(purpose)))

    def _derive(self, purpose: str) -> bytes:
        return HKDF(SHA256(), 32, None, f"depesche:{purpose}".encode()).derive(self._root)

    def seal(self, purpose: str, plaintext: bytes, context: bytes = b"") -> bytes:
        """Seal with AES-256-GCM: nonce (12 bytes), ciphertext, tag. `context` binds the data to its place."""
        nonce = _nonce()
        return nonce + self._cipher(purpose).encrypt(nonce, plaintext, context)

    def open(self, purpose: str, sealed: bytes, context: bytes = b"") -> bytes:
        """Return the plaintext. Raises NotOpenable."""
        try:
            return self._cipher(purpose).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError) as error:
            raise NotOpenable("the data was sealed with another key, or has been changed") from error


_nonces: list[bytes] = []  # drawn from the system in batches; each is used once
os.register_at_fork(after_in_child=_nonces.clear)


def _nonce() -> bytes:
    try:
        return _nonces.pop()
    except IndexError:
        # extended, not replaced: another thread may be here too
        _nonces.extend(_drawn(_NONCES_AT_ONCE))
        return _nonces.pop()


def _drawn(count: int) -> list[bytes]:
    drawn = os.urandom(count * _NONCE_BYTES)
    return [drawn[at : at + _NONCE_BYTES] for at in range(0, len(drawn), _NONCE_BYTES)]


def keyring_of(folder: Path) -> Keyring:
    """Return the keyring of a data folder; create `secret` (0600, 32 random bytes in hex) if there is none."""
    path = folder / "secret"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(handle, "w") as file:
            file.write(os.urandom(32).hex())
    return Keyring(bytes.fromhex(path.read_text().strip()))
