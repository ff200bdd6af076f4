"""The tools needed for building and running; if one is missing, the error says what to install."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from libs.errors import Permanent

OLDEST_JDK = 21
_JDK_FOLDERS = ("/usr/lib/jvm", "/Library/Java/JavaVirtualMachines", "/opt/java")


class ToolMissing(Permanent):
    """A tool is not on this machine; the detail says what to install."""

    slug = "tool-missing"
    title = "A tool is missing"


def go() -> str:
    """Return the `go` command. Raises ToolMissing."""
    return _found("go", "Install Go 1.26 or newer from https://go.dev/dl.")


def maven() -> str:
    """Return the `mvn` command. Raises ToolMissing."""
    return _found("mvn", "Install Maven 3.8 or newer: `apt-get install maven`, or https://maven.apache.org.")


def _found(program: str, advice: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise ToolMissing(f"`{program}` is not on the PATH. {advice}")
    return found


def jdk(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the home of a JDK that is new enough: JAVA_HOME's, else the newest. Raises ToolMissing."""
    preferred = Path(environment["JAVA_HOME"]) if environment.get("JAVA_HOME") else None
    if preferred and _version(preferred) >= OLDEST_JDK:
        return preferred
    found = {home: _version(home) for home in _homes()}
    best = max(found, key=lambda home: found[home], default=None)
    if best is None or found[best] < OLDEST_JDK:
        seen = ", ".join(f"{home} ({version})" for home, version in found.items() if version) or "none"
        raise ToolMissing(
            f"Kafka and OpenSearch need a JDK of {OLDEST_JDK} or newer; found: {seen}. "
            "Install one (https://adoptium.net, or `apt-get install openjdk-21-jdk-headless` if available), "
            "and set JAVA_HOME to its folder unless it is in /usr/lib/jvm."
        )
    return best


def _homes() -> Iterator[Path]:
    if java := shutil.which("java"):
        yield Path(java).resolve().parent.parent
    for folder in map(Path, _JDK_FOLDERS):
        for path in sorted(folder.glob("*")):
            inner = path / "Contents" / "Home"  # macOS
            yield inner if inner.is_dir() else path


def _version(home: Path) -> int:
    """Return the feature version from the JDK's release file; 0 if it is not a JDK, or has no compiler."""
    try:
        stated = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', (home / "release").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(stated[1]) if stated and (home / "bin" / "javac").exists() else 0
