"""The `depesche` command."""
