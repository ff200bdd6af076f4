"""Fills one engine's folder: compiles it, fetches its jars, or links the system's program.

Built under a temporary name and renamed when complete, so that an interrupted build is never mistaken for a finished
one. The output of each command goes to `<cache>/logs/<engine>.log`.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cli.engines import needs
from cli.engines.cache import SOURCES, folder_of
from cli.engines.debian import compile_from_source
from cli.engines.recipes import DebianSource, GoProgram, Jars, Recipe, SystemProgram
from cli.engines.workshop import BuildFailed, Workshop

_COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def build(recipe: Recipe) -> None:
    """Build it from scratch; the caller holds the builder's lock. Raises ToolMissing, BuildFailed."""
    if not (SOURCES / "README.md").is_file():
        raise BuildFailed(f"Engines are built from a checkout of the project; {SOURCES} does not exist.")
    target = folder_of(recipe)
    making = target.with_name(".making")
    shutil.rmtree(making, ignore_errors=True)  # from an interrupted build: we hold the lock
    making.mkdir(parents=True)
    workshop = Workshop(recipe.name)
    match recipe.how:
        case GoProgram() as program:
            _compile(recipe, program, making, workshop)
        case Jars() as jars:
            _fetch(recipe, jars, making, workshop)
        case SystemProgram() as program:
            _link(recipe, program, making, workshop)
        case DebianSource() as source:
            compile_from_source(recipe, source, making, workshop)
    if not (making / recipe.product).exists():
        raise BuildFailed(f"The build succeeded, but {recipe.product} does not exist; {workshop.tail()}")
    if target.exists():  # its product is missing: is_built has checked that
        shutil.rmtree(target)
    making.rename(target)


def _compile(recipe: Recipe, program: GoProgram, folder: Path, workshop: Workshop) -> None:
    flags = "-s -w"  # no symbols and no debugger tables: a third smaller
    if program.version_variable:
        flags += f" -X {program.version_variable}={recipe.version}"
    # readonly: build exactly what go.mod and go.sum say
    command = [needs.go(), "build", "-mod=readonly", "-buildvcs=false", "-trimpath", f"-ldflags={flags}"]
    command += [f"-tags={program.tags}", "-o", str(folder / recipe.product), program.package]
    workshop.run(command, SOURCES / recipe.name, CGO_ENABLED="0", GOWORK="off")


def _fetch(recipe: Recipe, jars: Jars, folder: Path, workshop: Workshop) -> None:
    maven, jdk = needs.maven(), needs.jdk()
    sources, lib = SOURCES / recipe.name, folder / "lib"
    # -C: a mismatch with the repository's checksum is an error
    command = [maven, "-B", "-C", "-ntp", "-f", str(sources / "pom.xml"), _COPY_JARS]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={lib}"]
    workshop.run(command, folder, JAVA_HOME=str(jdk))
    check_jars(lib, sources / "jars.sha256")
    if jars.main:
        compiler = [str(jdk / "bin" / "javac"), "--release", str(needs.OLDEST_JDK), "-cp", f"{lib}/*"]
        workshop.run([*compiler, "-d", str(folder / "classes"), str(sources / f"{jars.main}.java")], folder)


def check_jars(lib: Path, listed: Path) -> None:
    """Check the folder against `sha256sum`'s list: the same names, the same contents. Raises BuildFailed."""
    wanted = {name: digest for digest, name in (line.split() for line in listed.read_text().splitlines())}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in lib.iterdir()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        raise BuildFailed(f"These jars do not match {listed}: {', '.join(wrong)}.")


def _link(recipe: Recipe, program: SystemProgram, folder: Path, workshop: Workshop) -> None:
    found = _installed(recipe, program)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _install(program.debian_package, folder, workshop)
        found = _installed(recipe, program)
    if found is None:
        raise needs.ToolMissing(
            f"`{recipe.product}` is not installed. Install it: `apt-get install {program.debian_package}` as "
            f"root, or `brew install {recipe.name}`."
        )
    (folder / recipe.product).symlink_to(found)
    said = subprocess.run([folder / recipe.product, "--version"], capture_output=True, text=True).stdout
    version = re.search(r"\bv=(\d+)\.(\d+)", said)
    if not version or (int(version[1]), int(version[2])) < tuple(map(int, recipe.version.split("."))):
        raise needs.ToolMissing(f"{found} says {said.strip() or 'nothing'}; {recipe.version} or newer is needed.")


def _installed(recipe: Recipe, program: SystemProgram) -> str | None:
    return shutil.which(recipe.product) or (program.program if Path(program.program).exists() else None)


def _install(package: str, folder: Path, workshop: Workshop) -> None:
    command = ["apt-get", "install", "-y", "--no-install-recommends", package]
    quiet: Mapping[str, str] = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        workshop.run(command, folder, **quiet)
    except BuildFailed:  # an image's package lists are missing or old
        workshop.run(["apt-get", "update"], folder)
        workshop.run(command, folder, **quiet)
