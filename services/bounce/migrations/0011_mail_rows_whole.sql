-- A mail's bytes alone lie beside its row. With a target of 128 its digest, recipient and message went there too, each as a
-- row of its own with an entry in an index: Postgres puts out whatever is longer than a pointer until the target is met.
alter table mail set (toast_tuple_target = 512);
