-- What the audit's other store could not take while it was away: batches, drained in order of age.
create table spill (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  documents int not null,
  bytes int not null,                     -- of the body
  leased_until timestamptz,               -- somebody is writing it
  refused text,                           -- why the store will never take it; kept for people
  body bytea not null
);
alter table spill alter column body set storage external;   -- it is compressed already
create index on spill (id) where refused is null;
