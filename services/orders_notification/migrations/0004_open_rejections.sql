-- outside a transaction
-- Those that are open, newest first: a page of few among many that were replayed walked through all of these. What is kept is
-- rare, so an entry more is written seldom.
create index concurrently if not exists rejection_by_state on rejection (tenant, mode, state, id);
