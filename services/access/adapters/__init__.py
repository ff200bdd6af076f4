"""The adapters of access: Postgres, and the credentials file of a data folder."""
