"""docker-compose.yml: each program of the topology once beside its sidecar, in a start-up order that works.

No engine runs it here: a reader of the specification checks that it parses, and these rules compare it with
topology.py, dapr/ and the code.
"""

import re
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from libs.suite import SuiteSettings
from services.__main__ import SERVICES
from services.simulator.settings import SimulatorSettings
from services.topology import PROGRAMS, Program

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
SIDECARS = {f"{program.app_id}-dapr": program for program in PROGRAMS}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The whole file, merged and validated by the specification."""
    read = compose_spec.PyOptions(apply_merge=True).from_yaml(FILE.read_text(encoding="utf-8"))
    read.validate()
    read.to_spec()
    return read.to_dict()


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    return compose["services"]


def programs(services: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in services.items() if "services" in one.get("command", ())}


def test_each_program_runs_once_beside_its_own_sidecar(services: dict[str, Any]) -> None:
    expected = {one.app_id: f"python -m services run {one.service} --role {one.role}".split() for one in PROGRAMS}
    assert {name: one["command"] for name, one in programs(services).items()} == expected
    for name, program in SIDECARS.items():
        assert services[name]["command"] == ["--app-id", program.app_id]
        assert services[name]["networks"]["default"]["aliases"] == [program.app_id]
        assert services[program.app_id]["network_mode"] == f"service:{name}"
    assert {name for name in services if name.endswith("-dapr")} == set(SIDECARS)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda one: one.app_id)
def test_a_program_knows_its_sidecar_and_is_healthy_only_with_it(services: dict[str, Any], program: Program) -> None:
    one, sidecar = services[program.app_id], services[f"{program.app_id}-dapr"]
    flags = dict(flag.lstrip("-").split("=") for flag in sidecar["entrypoint"] if "=" in flag)
    given, other = one["environment"], sidecar["environment"]
    assert flags["dapr-http-port"] == given["DAPR_HTTP_PORT"]
    assert flags["app-port"] == str(SuiteSettings().port)
    assert given["DEPESCHE_BUS"] == "dapr"
    assert given["DEPESCHE_SERVICE_URL"] == f"http://127.0.0.1:{flags['dapr-http-port']}/v1.0/invoke/{{name}}/method"
    for token in ("DAPR_API_TOKEN", "APP_API_TOKEN"):
        assert given[token] == other[token]
        assert given[token].startswith(f"${{{token}:?")  # nothing starts without it
    assert one["healthcheck"]["test"] == ["CMD", "python", "-m", "libs.ask_probe", "ready"]
    grace = int(re.fullmatch(r"(\d+)s", one["stop_grace_period"])[1])  # type: ignore[index]
    assert grace > SuiteSettings().drain_seconds
    assert ("DEPESCHE_SIMULATOR_URL" in given) == (program.service == "delivery")


def test_sidecars_read_the_dapr_folder(services: dict[str, Any]) -> None:
    asked = set(re.findall(r"(?:envRef|name): (DEPESCHE_\w+)", (ROOT / "dapr/components/redis/bus.yaml").read_text()))
    for name in SIDECARS:
        one = services[name]
        assert asked <= set(one["environment"])
        mounts = dict(volume.split(":")[:2] for volume in one["volumes"])
        for path in (
            flag.partition("=")[2] for flag in one["entrypoint"] if re.match("--(config|resources-path)=", flag)
        ):
            source = next(here for here, there in mounts.items() if path == there or path.startswith(f"{there}/"))
            inside = next(there for here, there in mounts.items() if here == source)
            assert (ROOT / source / Path(path).relative_to(inside)).exists()
    names = yaml.safe_load((ROOT / "compose/names.yaml").read_text())["spec"]["nameResolution"]
    assert names["configuration"]["connectionString"].startswith("/names/")


def test_services_start_after_their_dependencies_are_healthy(services: dict[str, Any]) -> None:
    for name, one in services.items():
        for needed, how in one.get("depends_on", {}).items():
            other, condition = services[needed], how["condition"]
            if condition == "service_healthy":
                assert "test" in other["healthcheck"], (name, needed)
            elif condition == "service_completed_successfully":
                assert other["restart"] == "no"
            else:
                assert one["network_mode"] == f"service:{needed}"
    for name in SIDECARS:
        assert set(services[name]["depends_on"]) == {"redis", "migrate"}
    assert services["migrate"]["command"] == ["depesche", "migrate"]
    assert set(services["migrate"]["depends_on"]) == {"postgres"}
    assert set(services["ingress"]["depends_on"]) == {one.app_id for one in PROGRAMS if one.serves}
    assert {"mongo", "opensearch"} <= set(services["history"]["depends_on"]) & set(
        services["history-worker"]["depends_on"]
    )


def test_image_versions_are_pinned_and_ours_is_built_once(services: dict[str, Any]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    ours = [name for name, one in services.items() if one["image"] == f"depesche:{version}"]
    assert set(ours) == {one.app_id for one in PROGRAMS} | {"migrate", "simulator"}
    assert [name for name, one in services.items() if "build" in one] == ["migrate"]
    for name, one in services.items():
        assert re.fullmatch(r"[a-z0-9/-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9]+)?", one["image"]), name
        if name in ours:
            assert one["pull_policy"] == "never"  # no foreign image of that name
            assert one["read_only"]
            assert one["cap_drop"] == ["ALL"]


def test_ports_are_published_on_loopback_only_and_once(services: dict[str, Any]) -> None:
    published = [port for one in services.values() for port in one.get("ports", ())]
    assert len(published) >= 5
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published)
    assert len({port.split(":")[1] for port in published}) == len(published)
    assert "127.0.0.1:8725:8725" in services["bounce-worker-dapr"]["ports"]
    assert services["bounce-worker"]["environment"]["DEPESCHE_BOUNCE_SMTP_HOST"] == "0.0.0.0"


def test_the_simulators_environment_holds_known_settings(services: dict[str, Any]) -> None:
    known = {f"DEPESCHE_SIMULATOR_{name.upper()}" for name in SimulatorSettings.model_fields}
    assert set(services["simulator"]["environment"]) <= known
    port = services["simulator"]["environment"]["DEPESCHE_SIMULATOR_HTTP_PORT"]
    assert services["delivery"]["environment"]["DEPESCHE_SIMULATOR_URL"] == f"http://simulator:{port}/control"


def test_the_file_contains_no_secret(services: dict[str, Any]) -> None:
    for name, one in services.items():
        for variable, value in one.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET|DSN", variable) and not variable.endswith("_FILE"):
                assert value.startswith("${"), (name, variable)


def test_the_ingress_routes_to_every_api_and_nothing_else() -> None:
    text = (ROOT / "compose/ingress.conf").read_text()
    listed = re.search(r"location ~ \^/\(([a-z|-]+)\)/v1/", text)
    assert listed
    assert set(listed[1].split("|")) == set(SERVICES) == {one.service for one in PROGRAMS if one.serves}
    assert set(re.findall(r"location = (\S+)", text)) == {"/health", "/openapi.json", "/docs"}


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    (tmp_path / "compose").mkdir()
    (tmp_path / "compose/init.sh").write_text((ROOT / "compose/init.sh").read_text())
    subprocess.run(["sh", "compose/init.sh"], cwd=tmp_path, check=True, capture_output=True, timeout=200)
    return tmp_path


def test_init_creates_exactly_the_secrets_the_file_needs(prepared: Path, compose: dict[str, Any]) -> None:
    made = dict(line.split("=", 1) for line in (prepared / ".env").read_text().splitlines())
    assert set(re.findall(r"\$\{(\w+)", FILE.read_text())) == set(made)
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in made.values())
    assert len(set(made.values())) == len(made)
    for secret in compose["secrets"].values():
        assert (prepared / secret["file"]).is_file()
    kept = prepared / "compose/secrets"
    assert len(bytes.fromhex((kept / "secret").read_text())) == 32
    settings = tomllib.loads((kept / "depesche.toml").read_text())
    assert (kept / "postgres-password").read_text() in settings["dsn"]
    assert (kept / "mongo-password").read_text() in settings["history"]["mongo_url"]
    assert f"requirepass {made['DEPESCHE_REDIS_PASSWORD']}\n" in (kept / "redis.conf").read_text()


def test_init_files_are_private_and_ignored_by_git(prepared: Path) -> None:
    assert stat.S_IMODE((prepared / ".env").stat().st_mode) == 0o600
    # the folder keeps other users out; a container mounts each file by itself, for whichever user the image runs as
    assert stat.S_IMODE((prepared / "compose/secrets").stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o644 for path in (prepared / "compose/secrets").iterdir())
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {".env", "compose/secrets/"} <= set(ignored)


def test_init_overwrites_nothing(prepared: Path) -> None:
    before = {path: path.read_bytes() for path in prepared.rglob("*") if path.is_file()}
    again = subprocess.run(["sh", "compose/init.sh"], cwd=prepared, capture_output=True, text=True, timeout=200)
    assert again.returncode == 1
    assert "is there already" in again.stderr
    assert {path: path.read_bytes() for path in prepared.rglob("*") if path.is_file()} == before
