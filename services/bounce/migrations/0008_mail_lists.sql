-- outside a transaction
create index concurrently if not exists mail_tenant_mode_received_at_id_idx on mail (tenant, mode, received_at, id);
