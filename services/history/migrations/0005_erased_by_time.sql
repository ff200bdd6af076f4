-- outside a transaction
create index concurrently if not exists erased_at_idx on erased (at);
