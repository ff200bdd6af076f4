"""The ledger in Postgres: one module per transaction of the cycle."""
