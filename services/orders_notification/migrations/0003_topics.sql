-- What each worker's sidecar has to do with the topics that sources name; forgotten an hour after its last word.
create table topic_listener (
  worker uuid not null,
  component text not null,     -- Dapr's pub/sub component
  topic text not null,
  state text not null,         -- heard, waiting, no_component
  since timestamptz not null default now(),
  seen_at timestamptz not null default now(),
  primary key (worker, component, topic)
);
