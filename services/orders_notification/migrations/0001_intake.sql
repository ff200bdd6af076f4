-- Intake: what came, what was decided about it, what is kept to be replayed; sources and event types.

-- Grows with every publish, retire and change of an event type; intake looks at it before each batch.
create table catalogue (
  tenant smallint not null,
  mode smallint not null,
  version bigint not null,
  primary key (tenant, mode)
);

-- What makes an event the same event: UUIDv5 of (tenant, mode, source, id). Its own table, because uniqueness
-- must not live in a time partition; hashed, so that neighbours do not meet on one page.
create table event_key (
  key uuid not null,
  event_id uuid not null,
  primary key (key)
) partition by hash (key);
create table event_key_0 partition of event_key for values with (modulus 8, remainder 0);
create table event_key_1 partition of event_key for values with (modulus 8, remainder 1);
create table event_key_2 partition of event_key for values with (modulus 8, remainder 2);
create table event_key_3 partition of event_key for values with (modulus 8, remainder 3);
create table event_key_4 partition of event_key for values with (modulus 8, remainder 4);
create table event_key_5 partition of event_key for values with (modulus 8, remainder 5);
create table event_key_6 partition of event_key for values with (modulus 8, remainder 6);
create table event_key_7 partition of event_key for values with (modulus 8, remainder 7);
-- ids carry time and arrive in order, so a block range is all that pruning needs
create index on event_key using brin (event_id) with (pages_per_range = 16, autosummarize = on);

-- One row per accepted event, its decisions in it: accept, match, condition and outbox are one commit.
create table event (
  id uuid not null,            -- UUIDv7: the cause id
  tenant smallint not null,
  mode smallint not null,
  type text not null,
  source text not null,
  event_id text not null,      -- the sender's own id
  subject text,
  recipient text,              -- the first recipient; further ones stand in event_recipient
  client text not null,        -- the key or source that brought it
  occurred_at timestamptz not null,
  time text not null,          -- as the sender wrote it
  received_at timestamptz not null,
  decided_at timestamptz not null,
  requested int not null,      -- requests made; 0: nothing to wait for
  decisions bytea not null,    -- JSON; bytes, because a batch is written by COPY
  body bytea,                  -- the data as JSON, secrets hidden; null once erased
  extensions bytea,            -- JSON
  traceparent text,
  primary key (tenant, mode, id)   -- nobody asks for an event but for a tenant and mode
) partition by range (id);
create index on event (tenant, mode, subject, id) where subject is not null;
create index on event (tenant, mode, recipient, id) where recipient is not null;

-- The requests that have their account; an event is settled when all of its are here. Beside the event, because
-- updating a row as wide as that, with its indexes, costs several times as much.
create table settlement (
  cause_id uuid not null,
  request_id uuid not null,
  primary key (cause_id, request_id)
) partition by range (cause_id);
create table settlement_default partition of settlement default;   -- what settles after its day is gone

create table event_recipient (
  tenant smallint not null,
  mode smallint not null,
  recipient text not null,
  id uuid not null,
  primary key (tenant, mode, recipient, id)
);

-- Kept because it could not become an event: does not fit its schema, or its source's mapping failed.
create table rejection (
  id uuid primary key,
  tenant smallint not null,
  mode smallint not null,
  source text,                 -- the source's name; null: it came to the events route
  client text not null,
  reason smallint not null,
  errors jsonb not null,       -- [{pointer, detail}]
  event_type text,
  event_source text,
  event_id text,
  subject text,
  headers jsonb not null,      -- without credentials
  query jsonb not null,
  body bytea not null,         -- the bytes as they came
  digest bytea not null,       -- SHA-256 of source and body: a sender that tries again makes no second row
  times int not null default 1,
  received_at timestamptz not null,
  last_at timestamptz not null,
  state smallint not null default 0,   -- 0 open, 1 replayed
  replayed_at timestamptz
);
create unique index on rejection (tenant, mode, digest) where state = 0;
create index on rejection (tenant, mode, id);

create table source (
  tenant smallint not null,
  mode smallint not null,
  name text not null,
  version int not null,
  definition jsonb not null,
  secrets bytea not null,      -- sealed JSON list
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (name, tenant, mode)
);

create table event_type (
  tenant smallint not null,
  mode smallint not null,
  type text not null,
  version int not null,
  description text not null,
  schema jsonb,
  updated_at timestamptz not null,
  primary key (tenant, mode, type)
);
create index on rejection (tenant, mode, subject) where subject is not null;
