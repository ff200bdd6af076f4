"""Where built engines are stored: one folder per engine, version and recipe, outside the checkout.

An existing folder is complete: it was filled under another name and renamed at the end.
"""

import fcntl
import hashlib
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cli.engines.recipes import Recipe
from libs.errors import NotFound

SOURCES = Path(__file__).parents[2] / "tools" / "engines"


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return DEPESCHE_ENGINES, else `depesche/engines` in the user's cache."""
    if given := environment.get("DEPESCHE_ENGINES"):
        return Path(given).expanduser().resolve()
    home = environment.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache").resolve() / "depesche" / "engines"


def folder_of(recipe: Recipe) -> Path:
    """Return where this engine is, or will be, built. Changed sources or flags, and other processors, get another
    folder."""
    digest = hashlib.sha256(repr((recipe, platform.system(), platform.machine())).encode())
    for path in sorted((SOURCES / recipe.name).rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return cache_folder() / recipe.name / f"{recipe.version}-{digest.hexdigest()[:10]}"


def is_built(recipe: Recipe) -> bool:
    return (folder_of(recipe) / recipe.product).exists()


def built(recipe: Recipe) -> Path:
    """Return the folder of a built engine. Raises NotBuilt."""
    folder = folder_of(recipe)
    if not is_built(recipe):
        raise NotBuilt(f"{recipe.name} {recipe.version} is not in {folder}. Run `make engines` (minutes, once).")
    return folder


class NotBuilt(NotFound):
    """The engine has not been built on this machine."""

    slug = "engine-not-built"
    title = "The engine is not built"


@contextmanager
def only_builder() -> Iterator[None]:
    """Wait until nobody else builds into this cache. The system releases the lock of a process that dies."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "build.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another process is building in {cache}; waiting for it …", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
