"""The file that `depesche up` writes and the command line reads: the suite's URL and one key per mode.

`<data folder>/credentials.toml`, readable only by its owner:

    url = "http://127.0.0.1:8765"
    live = "dp_live_…"
    test = "dp_test_…"
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from libs.contracts.outcomes import Mode
from libs.errors import Invalid

FILE_NAME = "credentials.toml"
DATA_FOLDER = ".depesche"
_HEADER = "# Written by `depesche up`: the suite's URL, and an administrator's key per mode. Keep it private.\n"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A URL and the keys for it."""

    url: str
    keys: Mapping[Mode, str] = field(default_factory=dict)


def read(path: Path) -> Credentials | None:
    """Return the file's content, or None if there is no file. Raises Invalid if it cannot be read."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise Invalid(f"{path} cannot be read ({error}); delete it, and `depesche up` writes a new one.") from error
    keys = {mode: str(document[mode.word]) for mode in Mode if document.get(mode.word)}
    return Credentials(str(document.get("url", "")), keys)


def write(path: Path, credentials: Credentials) -> None:
    """Replace the file atomically, so that a reader never sees half of it."""
    lines = [f'url = "{credentials.url}"', *(f'{mode.word} = "{key}"' for mode, key in credentials.keys.items())]
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(_HEADER + "\n".join(lines) + "\n")
    temporary.replace(path)


def find(environment: Mapping[str, str], start: Path, home: Path) -> Path | None:
    """Return the nearest file: in DEPESCHE_DATA_DIR, in `.depesche` here or in a folder above, then in
    ~/.config/depesche."""
    if data := environment.get("DEPESCHE_DATA_DIR"):
        places = [Path(data)]
    else:
        places = [folder / DATA_FOLDER for folder in (start, *start.parents)]
        places.append(Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "depesche")
    return next((place / FILE_NAME for place in places if (place / FILE_NAME).is_file()), None)
