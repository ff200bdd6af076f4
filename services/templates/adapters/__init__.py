"""What templates stands on: Postgres."""
