-- outside a transaction
create index concurrently if not exists bounce_outcome_idx on bounce (tenant, mode, at, mail_id) where is_outcome;
