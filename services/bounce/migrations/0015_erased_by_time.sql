-- outside a transaction
create index concurrently if not exists erased_at_idx on erased (at);
-- A mail that made no fact (an automatic reply) is found by its message's recipient, and its bytes go with them.
alter table mail add column if not exists about text;
create index concurrently if not exists mail_about on mail (about) where about is not null;
