-- What every service's schema has: the outbox, what its subscribers still owe, dead letters, idempotency keys.

create table outbox (
  id bigint generated always as identity primary key,
  event_id uuid not null,
  type text not null,
  source text not null,
  subject text,
  tenant smallint not null,
  mode smallint not null,
  lane smallint not null default 0,     -- 0 first; 1: what may wait, so that it delays nothing else
  partition_key text not null,
  payload bytea not null,
  traceparent text,
  created_at timestamptz not null default now(),
  entries smallint not null default 1,  -- more: a bundle of so many events, see libs/messaging/bundles.py
  published_at timestamptz  -- set when handed to every subscriber while some still owe an acknowledgement
);
create index on outbox (lane, id) where published_at is null;
-- rows live for milliseconds: compressing them, or moving a bundle off its page, would cost more than it saves
alter table outbox alter column payload set storage external;
alter table outbox set (toast_tuple_target = 8160);

-- One row per subscriber that did not acknowledge at the first delivery. Empty on a good day.
create table outbox_delivery (
  outbox_id bigint not null references outbox (id) on delete cascade,
  subscriber text not null,
  attempts smallint not null,
  due_at timestamptz not null,
  error text,
  primary key (outbox_id, subscriber)
);
create index on outbox_delivery (due_at);

create table dead_letter (
  id uuid primary key,
  event_id uuid not null,
  type text not null,
  source text not null,
  subscriber text not null,
  subject text,
  tenant smallint not null,
  mode smallint not null,
  partition_key text not null,
  payload bytea not null,
  traceparent text,
  created_at timestamptz not null,
  dead_at timestamptz not null default now(),
  attempts smallint not null,
  reason text not null
);
create index on dead_letter (dead_at);

create table idempotency (
  scope bytea not null,      -- SHA-256 of caller, method and path
  key text not null,
  body_hash bytea not null,
  status smallint,           -- null: the first request is still running
  content_type text,
  etag text,
  location text,
  body bytea,
  created_at timestamptz not null default now(),
  primary key (scope, key)
);
create index on idempotency (created_at);
