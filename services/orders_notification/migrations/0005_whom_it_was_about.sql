-- outside a transaction
-- What is kept is erased with the person that it names.
alter table rejection add column if not exists recipient text;
create index concurrently if not exists rejection_recipient on rejection (tenant, mode, recipient)
  where recipient is not null;
-- rows come in the order of their ids: a summary of page ranges finds those that are old
create index concurrently if not exists event_recipient_age on event_recipient using brin (id)
  with (pages_per_range = 16, autosummarize = on);
