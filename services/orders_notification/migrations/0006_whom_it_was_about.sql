-- outside a transaction
-- Rejections are erased with the person that their event names.
alter table rejection add column if not exists recipient text;
create index concurrently if not exists rejection_recipient on rejection (tenant, mode, recipient)
  where recipient is not null;
