"""Programs from Debian: the system's package if it is new enough, else compiled from a newer Debian's sources.

It does not change the system's apt: lists and archives are in the engine's folder.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from cli.engines.needs import ToolMissing
from cli.engines.recipes import DebianSource, Recipe
from cli.engines.workshop import Workshop

_REPOSITORIES = ("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian")
_CONFIGURE = ("./configure", "--without-openssl", "--without-pam", "--without-cares")  # loopback alone


def compile_from_source(recipe: Recipe, how: DebianSource, folder: Path, workshop: Workshop) -> None:
    """Put the program into the folder. Raises ToolMissing, BuildFailed."""
    if found := _new_enough(recipe, how):
        (folder / recipe.product).symlink_to(found)
        return
    if not shutil.which("apt-get") or not (mirror := _mirror()):
        raise ToolMissing(
            f"`{recipe.product}` {how.oldest} or newer is not on this machine. Install it from your system's packages."
        )
    _have_headers(how, workshop)
    source = unpacked(_downloaded(how, mirror, folder, workshop), how, folder)
    workshop.run(_CONFIGURE, source)
    workshop.run(("make", recipe.product), source)
    shutil.copy(source / recipe.product, folder / recipe.product)
    shutil.rmtree(folder / "apt")


def _new_enough(recipe: Recipe, how: DebianSource) -> str | None:
    found = shutil.which(recipe.product)
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
    version = re.search(r"(\d+)\.(\d+)", said)
    fits = version is not None and (int(version[1]), int(version[2])) >= tuple(map(int, how.oldest.split(".")))
    return found if fits else None


def _mirror() -> str | None:
    """Return the Debian mirror that this machine uses."""
    listed = subprocess.run(_REPOSITORIES, capture_output=True, text=True).stdout.split()
    return next((url for url in listed if "security" not in url), None)


def _have_headers(how: DebianSource, workshop: Workshop) -> None:
    wanted = [name for name in how.headers if subprocess.run(["dpkg", "-s", name], capture_output=True).returncode]
    if wanted and os.geteuid():
        raise ToolMissing(f"Install its build dependencies, as root: `apt-get install {' '.join(wanted)}`.")
    if wanted:
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        workshop.run(("apt-get", "update"), Path("/"), **quiet)
        workshop.run(("apt-get", "install", "-y", "--no-install-recommends", *wanted), Path("/"), **quiet)


def _downloaded(how: DebianSource, mirror: str, folder: Path, workshop: Workshop) -> Path:
    place = folder / "apt"
    for part in ("lists/partial", "cache/archives/partial", "source"):
        (place / part).mkdir(parents=True)
    (place / "sources.list").write_text(f"deb-src {mirror} {how.suite} main\n")
    options = {
        "Dir::Etc::sourcelist": place / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": place / "lists", "Dir::Cache": place / "cache", "APT::Sandbox::User": "",
    }  # fmt: skip
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    workshop.run(("apt-get", *words, "update"), folder)
    workshop.run(("apt-get", *words, "source", "--download-only", how.package), place / "source")
    return place / "source" / how.archive


def unpacked(archive: Path, how: DebianSource, folder: Path) -> Path:
    """Unpack a source archive; return the folder with its `configure`. Raises ToolMissing if it is another file."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest() if archive.exists() else "not there"
    if found != how.sha256:
        raise ToolMissing(f"{how.archive} of Debian's {how.suite} is {found}, not the file of the recipe.")
    with tarfile.open(archive) as packed:
        # the argument `filter` came with Python 3.11.4, and Debian 12 has 3.11.2; the digest is known anyway
        packed.extraction_filter = getattr(tarfile, "data_filter", None)
        packed.extractall(folder / "apt")
    return next(path.parent for path in (folder / "apt").glob("*/configure"))
