-- Who reads which mails just now, a row for each batch: a lease written into every mail's own row copied the row and an
-- entry in each of its indexes. The previous version's leases, a due time ahead in the mail, hold as before.

create table mail_lease (
  id uuid primary key,
  until timestamptz not null,            -- by the database's clock; then the mails wait again by themselves
  mails uuid[] not null
);
alter table mail_lease alter column mails set storage external; -- nothing in ids can be compressed
