-- Webhooks of other systems that are told of facts and suppressions, and mails that are read again.

create table webhook (
  id uuid primary key,
  tenant smallint not null,
  mode smallint not null,
  url text not null,
  kinds text[] not null,                 -- types of events
  note text not null,
  secrets bytea not null,                -- sealed: what signs, the newest first, and until when
  enabled boolean not null,
  version bigint not null,               -- of what people edit
  created_at timestamptz not null,
  changed_at timestamptz not null,
  disabled_for text,                     -- why it was disabled by us
  failures int not null default 0,       -- calls that failed, one after another
  failing_since timestamptz,
  next_at timestamptz not null,          -- not called before
  leased_until timestamptz not null      -- whoever calls it has it until then
);
create index on webhook (tenant, mode, id);

create table webhook_event (             -- what a webhook is told, kept for a time so that it can be told again
  webhook_id uuid not null references webhook (id) on delete cascade,
  event_id uuid not null,                -- the event's own: the same one twice is one, for the receiver too
  kind text not null,
  at timestamptz not null,
  body bytea not null,
  recipient text,
  state smallint not null default 0,     -- domain/webhooks.py
  attempts smallint not null default 0,
  due_at timestamptz not null,
  primary key (webhook_id, event_id)
);
create index on webhook_event (webhook_id, due_at) where state = 0;
create index on webhook_event (webhook_id, at) where state = 2;
create index on webhook_event (at);
create index on webhook_event (recipient) where recipient is not null;

create table webhook_attempt (           -- the log of calls
  id uuid primary key,                   -- UUIDv7
  webhook_id uuid not null references webhook (id) on delete cascade,
  event_id uuid not null,
  kind text not null,
  at timestamptz not null,
  status smallint,                       -- of HTTP; null: there was no reply
  error text,
  milliseconds int not null
);
create index on webhook_attempt (webhook_id, id);
create index on webhook_attempt (at);

alter table mail add column again boolean not null default false; -- read before: what it says now replaces what it said
