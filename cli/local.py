"""Commands that work on this machine without calling the suite: `up`, `migrate`, `settings`."""

import asyncio
import functools
import importlib.util
import pkgutil
import tempfile
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import SecretStr
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli.session import Session, command, with_errors_shown
from cli.up import up
from libs.credentials import Credentials, read
from libs.errors import Invalid, Unavailable

if TYPE_CHECKING:
    # the services' libraries are imported by the commands that need them: the others start in half the time
    from libs.settings import Described, ServiceSettings
    from libs.suite import SuiteSettings

T = TypeVar("T")

DataDir = Annotated[Path | None, typer.Option(help="The suite's folder; default: DEPESCHE_DATA_DIR or .depesche.")]
Dsn = Annotated[
    str | None, typer.Option(help="Database as postgresql://…; default: DEPESCHE_OWNER_DSN or DEPESCHE_DSN.")
]

_LOOK_SECONDS = 1.0
_UNITS = ("milliseconds", "seconds", "minutes", "hours", "days", "bytes", "connections", "characters", "per_second")


def register(app: typer.Typer) -> None:
    """Add these commands."""

    @functools.wraps(up)
    def guarded(**given: Any) -> None:
        logs_to_stderr()
        with_errors_shown(lambda: up(**given), as_json=bool(given.get("as_json")))

    app.command("up", epilog="Example: depesche up --port 8800 --workers 2")(guarded)
    command(app, "migrate", example="depesche migrate --dsn postgresql://depesche@db/depesche")(run_migrations)
    command(app, "first-keys", example="kubectl exec deploy/access -c app -- depesche first-keys")(first_keys)
    command(app, "settings", example="depesche settings delivery --json")(show_settings)


def run_migrations(
    session: Session,
    dsn: Dsn = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be run.")] = False,
    roles: Annotated[
        bool, typer.Option("--roles", help="Create a database role per service, restricted to its own schema.")
    ] = False,
    passwords: Annotated[
        Path | None,
        typer.Option(help="With --roles: a folder with a password file per schema, for its role.", exists=True),
    ] = None,
    wait_seconds: Annotated[
        float | None,
        typer.Option(help="Run nothing: wait until another process has migrated it to this version.", min=0),
    ] = None,
) -> None:
    """Migrate a database's schemas to this version. `depesche up` does this for its own folder automatically."""
    from libs.storage.migrations import migrate, pending
    from services.__main__ import migration_folders

    logs_to_stderr()
    found = target(dsn)
    if wait_seconds is not None:
        _wait_for_migrations(found, wait_seconds)
        session.give({"dry_run": True, "migrations": []}, lambda _: "Every schema is current.")
        return
    work = pending if dry_run else migrate
    done = asyncio.run(_reached(work(found, migration_folders())))
    made = [] if dry_run else asyncio.run(_reached(_roles(found, roles, passwords)))
    verb = "would be run" if dry_run else "run"
    said = [*done, f"{len(done)} migrations {verb}."] if done else ["Every schema is current."]
    if roles and made:
        said.append(f"Roles: {', '.join(made)}.")
    session.give({"dry_run": dry_run, "migrations": done, "roles": made}, lambda _: "\n".join(said))


def _roles(dsn: str, make: bool, folder: Path | None) -> Coroutine[Any, Any, list[str]]:
    """Create the services' roles, or grant existing ones the objects that migrations have created."""
    from libs.storage.roles import make_roles, renew_grants
    from services.__main__ import service_roles

    known = service_roles()
    if not make:
        return renew_grants(dsn, known)
    files = {role.schema: folder / role.schema for role in known} if folder else {}
    given = {schema: path.read_text().rstrip("\n") for schema, path in files.items() if path.is_file()}
    if folder and not given:
        raise Invalid(f"The folder has none of the files {', '.join(files)}.", pointer="--passwords")
    return make_roles(dsn, known, given)


def _wait_for_migrations(dsn: str, seconds: float) -> None:
    """Wait until nothing is left to be run. Raises Unavailable, naming what is left, after `seconds`."""
    from libs.storage.migrations import pending
    from services.__main__ import migration_folders

    until = time.monotonic() + seconds
    while True:
        try:
            left = asyncio.run(_reached(pending(dsn, migration_folders())))
            missing = Unavailable(f"Not migrated yet: {', '.join(left)}. Run `depesche migrate` of this version.")
        except Unavailable as error:
            left, missing = ["unknown"], error
        if not left:
            return
        if time.monotonic() >= until:
            raise missing
        time.sleep(_LOOK_SECONDS)


def first_keys(session: Session, dsn: Dsn = None) -> None:
    """Create an administrator's keys for tenant 1, and print the credentials file that every command reads.

    For an installation that `depesche up` did not create; run it where the services run, and again if the keys are
    lost."""
    from libs.suite import load_suite

    logs_to_stderr()
    settings = load_suite().model_copy(update={"dsn": SecretStr(target(dsn))})
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_reached(_made_first(settings, Path(folder))))
    keys = {mode.word: key for mode, key in found.keys.items()}
    session.give({"url": found.url, **keys}, lambda given: "\n".join(f'{name} = "{it}"' for name, it in given.items()))


async def _made_first(settings: "SuiteSettings", folder: Path) -> Credentials:
    from libs.keyring import keyring_of
    from services.__main__ import runtime_of
    from services.access.app import ensure_first

    runtime = replace(runtime_of(settings, keyring_of(settings.data_dir)), data_dir=folder)
    found = read(await ensure_first(runtime))
    assert found is not None
    return found


def logs_to_stderr() -> None:
    """Keep the libraries' logs of this process out of a command's output."""
    from libs.telemetry import configure_logs

    configure_logs(service="cli", level="warning", human=True)


async def _reached(work: Coroutine[Any, Any, T]) -> T:
    import asyncpg

    try:
        return await work
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unavailable(f"Postgres does not answer: {error}. Check --dsn (or DEPESCHE_DSN).") from error


def target(dsn: str | None) -> str:
    """Return the DSN to work on: the given one, from the settings, or of the folder's own running server."""
    from libs.suite import checked_dsn, load_suite

    found = checked_dsn(dsn or "", "--dsn") or load_suite().migrating_dsn
    if found:
        return found
    from libs.storage import embedded

    running = embedded.running_dsn(load_suite().data_dir.resolve())
    if running is None:
        raise Unavailable("There is no database here: start `depesche up`, or give one with --dsn (DEPESCHE_DSN).")
    return running


def show_settings(
    session: Session,
    section: Annotated[str | None, typer.Argument(help="suite, or a service: delivery, tokens …")] = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only settings that differ from their default.")] = False,
) -> None:
    """Show all settings with value, unit, origin and purpose; secrets are masked."""
    from libs.settings import describe
    from libs.suite import load_suite, settings_file

    file = settings_file(load_suite().data_dir)
    shown = [
        one
        for one in describe(settings_classes(), file)
        if section in (None, one.section) and not (changed and one.origin == "default")
    ]
    data = [
        {
            "name": one.name,
            "value": one.value,
            "unit": unit(one.name),
            "origin": one.origin,
            "section": one.section,
            "description": one.description,
        }
        for one in shown
    ]
    session.give({"file": str(file) if file else None, "settings": data}, lambda _: _settings_table(shown, file))


def settings_classes() -> "list[type[ServiceSettings]]":
    """Return the settings classes of the suite and every service."""
    import services
    from libs.settings import ServiceSettings
    from libs.suite import SuiteSettings

    found: list[type[ServiceSettings]] = [SuiteSettings]
    for package in sorted(info.name for info in pkgutil.iter_modules(services.__path__) if info.ispkg):
        name = f"services.{package}.settings"
        if importlib.util.find_spec(name) is None:
            continue
        module = importlib.import_module(name)
        found += [
            thing
            for thing in vars(module).values()
            if isinstance(thing, type) and issubclass(thing, ServiceSettings) and thing.__module__.startswith(name)
        ]
    return found


def setting_names() -> set[str]:
    """Return the environment variables of all settings."""
    from libs.settings import prefix_of

    return {f"{prefix_of(cls)}{name}".upper() for cls in settings_classes() for name in cls.model_fields}


def unit(name: str) -> str:
    """Return the unit at the end of a setting's name, if any."""
    return next((u.replace("_", " ") for u in _UNITS if name.lower().endswith(f"_{u}")), "")


def _settings_table(shown: "list[Described]", file: Path | None) -> RenderableType:
    made = Table(box=None, pad_edge=False, header_style="bold", caption_justify="left")
    made.caption = f"File: {file}" if file else "File: none (depesche.toml in the data folder, or here)"
    for heading in ("setting", "value", "from", "what it does"):
        made.add_column(heading, overflow="fold")
    for one in shown:
        changed = one.origin != "default"
        value = f"{one.value} {unit(one.name)}".strip() or "–"
        made.add_row(
            Text(one.name, style="bold" if changed else ""),
            Text(value, style="yellow" if changed else ""),
            one.origin,
            Text(one.description, style="dim"),
        )
    return made
