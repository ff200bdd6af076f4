"""Postgres: the embedded server, pools, migrations."""
