create table reply (                 -- deduplicates customers' replies; dropped by age
  provider text not null,
  event_id text not null,
  at timestamptz not null,
  primary key (provider, event_id)
);
create index on reply (at);
