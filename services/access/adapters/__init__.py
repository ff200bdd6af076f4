"""What access stands on: Postgres, and the credentials file of a data folder."""
