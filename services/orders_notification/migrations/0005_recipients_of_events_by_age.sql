-- outside a transaction
-- Pruning looks for rows by their event's age; the primary key begins with the tenant. Ids carry time and arrive in order.
create index concurrently if not exists event_recipient_by_age on event_recipient
  using brin (id) with (pages_per_range = 16, autosummarize = on);
