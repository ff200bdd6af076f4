-- Mails as they came, facts about addresses, and what the facts bar.

create table mail (                      -- stored before its 250; the raw bytes go after the retention
  id uuid primary key,                   -- UUIDv7
  digest bytea not null unique,          -- SHA-256 of recipient and bytes: a mail handed in twice is one mail
  tenant smallint,                       -- null: it came by SMTP, and the message names the tenant
  mode smallint,
  recipient text not null,               -- the envelope's; empty when handed in without one
  received_at timestamptz not null,
  size int not null,
  state smallint not null default 0,     -- 0 waiting, 1 read, 2 backscatter
  outcome text,                          -- the category, or why it changed nothing
  message text,
  attempts smallint not null default 0,
  due_at timestamptz not null,
  raw bytea
);
create index on mail (due_at) where state = 0;
create index on mail (received_at) where raw is not null;
create index on mail (message) where message is not null;

create table backscatter (               -- mail that is none of ours, counted: it may come in floods
  day date not null,
  why text not null,
  count bigint not null,
  last_at timestamptz not null,
  last_recipient text not null,
  last_peer text not null,
  primary key (day, why)
);

create table bounce (
  id uuid primary key,                   -- derived from message, attempt and category: the same evidence once
  tenant smallint not null,
  mode smallint not null,
  at timestamptz not null,
  category text not null,
  permanent boolean not null,
  origin text not null,
  address_hash bytea not null,
  message text,
  attempt smallint,
  recipient text,
  reply_code smallint,
  enhanced_code text,
  text text,
  mail_id uuid
);
create index on bounce (tenant, mode, at, id);
create index on bounce (tenant, mode, address_hash, at);
create index on bounce (tenant, mode, recipient) where recipient is not null;
create index on bounce (message) where message is not null;

create table suppression (
  id uuid primary key,
  tenant smallint not null,
  mode smallint not null,
  address_hash bytea not null,
  scope smallint not null,
  reason smallint not null,
  active boolean not null,
  version bigint not null,
  changed_at timestamptz not null,
  lifted_at timestamptz,
  bounce_id uuid,                        -- the evidence that placed it last
  message text,
  recipient text,
  actor text not null,
  note text,
  unique (tenant, mode, address_hash, scope)
);
create index on suppression (tenant, mode, recipient) where recipient is not null;
