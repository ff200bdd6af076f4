-- A mail's row is written twice on its way, at the lease and when it is closed; its bytes need not be copied each time.
alter table mail set (toast_tuple_target = 128);
