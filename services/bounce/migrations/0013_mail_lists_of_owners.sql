-- outside a transaction
-- A mail by SMTP has no tenant until it is read, and no list shows it until then: it needs no entry before.
create index concurrently if not exists mail_owner_received_at_id_idx on mail (tenant, mode, received_at, id)
  where tenant is not null;
drop index concurrently if exists mail_tenant_mode_received_at_id_idx;
