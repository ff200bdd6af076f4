"""The sources that Depesche ships, read from their files."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

_FOLDER = Path(__file__).parent.parent / "shipped_sources"
# the C loader is ten times faster; a build of PyYAML without it has only the other one
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def shipped_sources() -> Mapping[str, Mapping[str, Any]]:
    """Return definitions by name, as a PUT would send them. Read once per process: never change them."""
    return MappingProxyType({path.stem: _read(path) for path in sorted(_FOLDER.glob("*.yaml"))})


def _read(path: Path) -> Mapping[str, Any]:
    return MappingProxyType(yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader))  # both loaders are safe
