-- Recipients, where they can be reached, and what they agreed to. Tenant and mode stand in every row.

create table recipient (
  id bigint generated always as identity primary key,
  tenant smallint not null,
  mode smallint not null,
  key text collate "C" not null,           -- customer:<the shop's id> or installation:<id>
  first_name text,
  last_name text,
  locale text,
  zone text,
  quiet_hours jsonb,                       -- {"from": "22:00", "to": "07:00", "zone": "Europe/Berlin" or null}
  attributes jsonb not null default '{}',
  version int not null default 1,          -- grows with every change, of addresses and consent too: the ETag
  created_at timestamptz not null,
  changed_at timestamptz not null,
  unique (tenant, mode, key)
);

create table address (
  id bigint generated always as identity primary key,
  tenant smallint not null,
  mode smallint not null,
  recipient_id bigint not null references recipient (id),
  channel smallint not null,
  kind text not null check (kind in ('fcm_token', 'fid', 'email', 'phone', 'webhook')),
  value text not null,
  hash bytea not null,                     -- of the canonical form: suppressions and history know only this
  installation text collate "C" check ((installation is not null) = (channel = 1)),
  platform text,
  app_version text,
  locale text,                             -- of the device, where it differs from its owner's
  created_at timestamptz not null,
  seen_at timestamptz not null,            -- registered or refreshed last
  retired_at timestamptz,
  retired_why text
);
-- One live address per installation, and a token lives in one installation. The selective column leads in each
-- index: planned on an empty table, one that starts with tenant and mode looks as good as any, and stays cached.
create unique index address_installation on address (installation, tenant, mode) where channel = 1;
create unique index address_token on address (hash, tenant, mode) where channel = 1 and retired_at is null;
-- a mailbox or phone may belong to several people (families), but once to each
create unique index address_owner on address (recipient_id, channel, hash) where channel <> 1;
create index address_recipient on address (recipient_id, tenant, mode);
create index address_hash on address (hash, tenant, mode);

-- What holds now. Topic '*' is a barrier, never a yes: it overrules every yes on its channel that is not newer.
create table consent (
  recipient_id bigint not null references recipient (id),
  topic text collate "C" not null,
  channel smallint not null,
  tenant smallint not null,
  mode smallint not null,
  granted boolean not null,
  at timestamptz not null,
  how text not null,
  text_version text,
  primary key (recipient_id, topic, channel),
  check (topic <> '*' or not granted)
);

-- Every statement that ever came, with its proof, those too that were overtaken when they came.
create table consent_statement (
  id bigint generated always as identity primary key,
  recipient_id bigint not null references recipient (id),
  topic text collate "C" not null,
  channel smallint not null,
  tenant smallint not null,
  mode smallint not null,
  granted boolean not null,
  at timestamptz not null,
  how text not null,
  text_version text,
  message text,                            -- the message whose link or reply it was
  actor text not null,
  recorded_at timestamptz not null
);
create unique index consent_statement_once on consent_statement (recipient_id, topic, channel, at, granted, how);

create table import (
  id uuid primary key,
  tenant smallint not null,
  mode smallint not null,
  state text not null check (state in ('running', 'done', 'failed', 'cancelled', 'interrupted')),
  format text not null,
  actor text not null,
  started_at timestamptz not null,
  changed_at timestamptz not null,         -- by the database's clock: tells a dead import from a slow one
  ended_at timestamptz,
  bytes bigint not null default 0,
  rows int not null default 0,
  created int not null default 0,
  changed int not null default 0,
  unchanged int not null default 0,
  refused int not null default 0,
  ignored_columns text[] not null default '{}',
  problem text
);
create index import_newest on import (tenant, mode, started_at desc, id desc);

create table import_refusal (
  import_id uuid not null references import (id) on delete cascade,
  row int not null,                        -- 1 is the first after the header
  ordinal smallint not null,
  line int not null,                       -- of the file
  field text not null,
  reason text not null,                    -- never the value: it may be an address
  primary key (import_id, row, ordinal)
);
