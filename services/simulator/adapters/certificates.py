"""The simulator's certificate and service account: created once per data folder, so that a restart does not invalidate
what clients have loaded."""

import json
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PROJECT = "simulator"
ACCOUNT = f"depesche@{PROJECT}.iam.gserviceaccount.com"


@dataclass(frozen=True, slots=True)
class Identity:
    """Paths of PEM files, and the service account's key."""

    ca: Path
    certificate: Path  # with its key and chain
    account: Path
    account_key: rsa.RSAPrivateKey

    def server_context(self) -> ssl.SSLContext:
        """TLS for STARTTLS."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate)
        return context

    def write_account(self, token_uri: str) -> None:
        """Write the service account's file in the format of Firebase's console, with our token endpoint."""
        document = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "simulator",
            "private_key": _pem_of(self.account_key).decode(),
            "client_email": ACCOUNT,
            "client_id": "100000000000000000000",
            "auth_uri": token_uri,
            "token_uri": token_uri,
            "universe_domain": "googleapis.com",
        }
        write_private(self.account, json.dumps(document, indent=2).encode())


def new_key() -> rsa.RSAPrivateKey:
    """Create a key like Google's for a service account."""
    return rsa.generate_private_key(65537, 2048)


def _pem_of(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, atomically."""
    draft = path.with_suffix(path.suffix + ".new")
    draft.touch(0o600)
    draft.write_bytes(content)
    draft.replace(path)


def identity_of(folder: Path, host: str) -> Identity:
    """Return the identity stored in `folder`, creating a missing one."""
    folder.mkdir(parents=True, exist_ok=True)
    ca, certificate, key = (
        folder / "ca.pem",
        folder / f"server-{host.replace(':', '_')}.pem",
        folder / "account-key.pem",
    )
    if not (ca.is_file() and certificate.is_file()):
        authority = trustme.CA(organization_name="Depesche simulator")
        issued = authority.issue_cert("localhost", "127.0.0.1", "::1", *({host} - {"127.0.0.1", "localhost", "::1"}))
        write_private(certificate, issued.private_key_and_cert_chain_pem.bytes())
        write_private(ca, authority.cert_pem.bytes())
    if not key.is_file():
        write_private(key, _pem_of(new_key()))
    # validating the key takes a quarter of a second, and it is our own
    loaded = serialization.load_pem_private_key(key.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    return Identity(ca, certificate, folder / "service-account.json", loaded)
