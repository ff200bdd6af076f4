-- outside a transaction
-- A refused event may contain one-time codes: body, headers and query are sealed here, and empty in their own columns.
-- Null: stored by a version before this one; the hourly upkeep seals it.
alter table rejection add column if not exists sealed bytea;
create index concurrently if not exists rejection_in_clear on rejection (id) where sealed is null;
