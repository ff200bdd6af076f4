"""`depesche bounce`: bounces, and how they are judged."""

import typer

from cli import bounce_figures, bounce_import, bounce_mails, bounce_model, bounce_replays
from cli.bounce_reports import reports
from cli.bounce_rules import rules
from cli.bounce_webhooks import webhooks
from cli.suppressions import suppressions

bounce = typer.Typer(help="Bounces: mails, figures, imports, rules, replays, reports, webhooks.", no_args_is_help=True)
for part in (bounce_figures, bounce_mails, bounce_import, bounce_replays, bounce_model):
    bounce.add_typer(part.commands)
bounce.add_typer(rules, name="rules")
bounce.add_typer(reports, name="reports")
bounce.add_typer(suppressions, name="suppressions")
bounce.add_typer(webhooks, name="webhooks")
