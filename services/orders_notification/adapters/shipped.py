"""The sources that Depesche ships, read from their files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parent.parent / "shipped_sources"


def shipped_sources() -> Mapping[str, Mapping[str, Any]]:
    """Return definitions by name, as a PUT would send them."""
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(_FOLDER.glob("*.yaml"))}
