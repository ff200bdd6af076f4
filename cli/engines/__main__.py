"""`python -m cli.engines [engine …]`: build what is missing, and show the engines with their versions and sizes."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.engines.build import build
from cli.engines.cache import cache_folder, folder_of, is_built, only_builder
from cli.engines.recipes import RECIPES, Recipe
from libs.errors import Permanent


@dataclass(frozen=True, slots=True)
class _Made:
    recipe: Recipe
    seconds: float | None  # None: it already existed
    problem: str = ""


def main(
    engines: Annotated[list[str] | None, typer.Argument(help="Only these engines; default: all.")] = None,
) -> None:
    """Build or fetch the real engines into a folder outside the checkout (DEPESCHE_ENGINES)."""
    names = {recipe.name for recipe in RECIPES}
    if unknown := set(engines or ()) - names:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: use {', '.join(sorted(names))}.")
    with only_builder():
        made = [_make(recipe) for recipe in RECIPES if not engines or recipe.name in engines]
    _show(made)
    failed = [item for item in made if item.problem]
    for item in failed:
        print(f"\n{item.recipe.name}: {item.problem}", file=sys.stderr)
    raise typer.Exit(1 if failed else 0)


def _make(recipe: Recipe) -> _Made:
    """Build one engine; a failure does not stop the others."""
    if is_built(recipe):
        return _Made(recipe, None)
    print(f"{recipe.name} {recipe.version}: building it; {cache_folder() / 'logs' / recipe.name}.log", flush=True)
    started = time.monotonic()
    try:
        build(recipe)
    except Permanent as error:
        return _Made(recipe, time.monotonic() - started, error.detail)
    return _Made(recipe, time.monotonic() - started)


def _show(made: list[_Made]) -> None:
    table = Table(title=f"Engines in {cache_folder()}", title_justify="left")
    for heading in ("engine", "version", "from", "size", "time"):
        table.add_column(heading, justify="right" if heading in ("size", "time") else "left")
    for item in made:
        took = "existed" if item.seconds is None else f"{item.seconds:.0f} s"
        size = "[red]missing[/]" if item.problem else f"{_megabytes(folder_of(item.recipe)):.0f} MB"
        table.add_row(item.recipe.name, item.recipe.version, item.recipe.how.origin, size, took)
    Console().print(table)


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    typer.run(main)
