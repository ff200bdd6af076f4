-- outside a transaction
-- A row of the queue may be shared by requests of one recipient each: an order costs a twentieth of a row, not a row.
-- Such a row has `together` and no request of its own. The previous version leaves it to this one: see docs/adr/0204.
-- squawk-ignore ban-drop-not-null, prefer-robust-stmts
alter table work alter column request_id drop not null;
alter table work add column if not exists together uuid[];
create index concurrently if not exists work_together on work (id) where together is not null;
