"""The credentials file of a data folder, for ensure_first."""

from dataclasses import dataclass
from pathlib import Path

from libs import credentials
from libs.contracts.outcomes import Mode


@dataclass(frozen=True, slots=True)
class FolderCredentials:
    """`<folder>/credentials.toml`; `url` is the suite's current URL."""

    path: Path
    url: str

    def keys(self) -> dict[Mode, str]:
        found = credentials.read(self.path)
        return dict(found.keys) if found else {}

    def write(self, keys: dict[Mode, str]) -> None:
        credentials.write(self.path, credentials.Credentials(self.url, keys))
