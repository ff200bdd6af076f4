-- outside a transaction
-- An account moves where it stands: with as much room on its page as its row has, neither of its two moves makes new
-- entries in the table's indexes. What a cause led to is found by the ids, which carry its time: see docs/adr/0206.
-- squawk-ignore prefer-robust-stmts
alter table request set (fillfactor = 45);
drop index concurrently if exists request_cause_id_idx;
