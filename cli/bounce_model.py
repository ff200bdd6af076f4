"""`depesche bounce train`: train the model for replies that no rule reads, from reviewed replies."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from cli.errors import UsageError
from cli.output import facts, table
from cli.session import Session, command

commands = typer.Typer()  # part of `depesche bounce`

_CATEGORY = ("category", "replies", "answered_from")
_BIN = ("guesses", "confidence", "right")


@command(commands, "train", example="depesche bounce train reviewed.jsonl --out bounces.model")
def train_model(
    session: Session,
    out: Annotated[Path, typer.Option(help="The file to write; set `model` of bounce to it.")],
    replies: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Reviewed replies, JSON lines or CSV: text, category; optionally reply, enhanced, provider, also."
        ),
    ] = None,
    precision: Annotated[
        float, typer.Option(help="Share of correct answers that a category must reach to be used.", min=0.5, max=1)
    ] = 0.95,
) -> None:
    """Train the weights of the bounce model, from the replies that come with Depesche and from yours."""
    # imported here: only this command needs the model's libraries
    from services.bounce.adapters.model_file import BadModel, examples_in, save_model, shipped_examples
    from services.bounce.domain.learning import train

    try:
        examples = shipped_examples() + [example for path in replies or () for example in examples_in(path)]
    except BadModel as error:
        raise UsageError(f"{error}.") from error
    model, trained = train(examples, precision=precision)
    made = {"file": str(out), "digest": save_model(model, out)} | trained.as_dict()
    session.give(made, _shown)


def _shown(made: dict[str, Any]) -> RenderableType:
    categories = [
        {"category": name, "replies": count, "answered_from": made["thresholds"].get(name, "never")}
        for name, count in made["categories"].items()
    ]
    names = ("file", "digest", "replies", "accuracy", "answered", "accuracy_answered")
    return Group(
        facts({name: made[name] for name in names}),
        table(categories, _CATEGORY, empty=""),
        table(made["calibration"], _BIN, empty=""),
    )
