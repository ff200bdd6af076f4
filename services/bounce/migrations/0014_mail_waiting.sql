-- A mail by SMTP is stored once and not changed when it is read: it waits by a row of its own, and its outcome is its fact.
-- Its row says `state` 1 from the start, so that the version before leaves it alone, and no outcome, tenant or message.

create table mail_waiting (
  id uuid primary key,                   -- of the mail
  size int not null
);
alter table bounce add column is_outcome boolean not null default false; -- what became of the mail `mail_id`: its row says nothing
