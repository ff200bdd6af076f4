"""The adapter of templates: Postgres."""
