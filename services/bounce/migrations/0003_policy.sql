-- Policy: what is known of an address, what was decided on each fact, the breaker and what it parks, the figures.

update bounce set provider = '' where provider is null;  -- empty: nobody that we could name
alter table bounce
  alter column provider set default '',
  alter column provider set not null,
  add column domain text,                      -- the address's own, where it was said not to exist
  add column sender smallint,
  add column from_domain text not null default '',
  add column communication text not null default '',
  add column decision smallint not null default 0,  -- domain/policy.py
  add column policy text not null default '',  -- the rule of domain/policy.py that decided
  add column doubtful boolean not null default false, -- said while its provider's breaker was open, or shortly before
  add column void boolean not null default false,     -- undone: it counts as no proof of anything
  -- where a fact stands in the feed: by the transaction that added it, because numbers alone are seen out of order
  add column fed_by xid8 not null default pg_current_xact_id(),
  add column fed_as bigint generated always as identity;
create index on bounce (tenant, mode, fed_by, fed_as);
create index on bounce (mode, provider, at) where category in ('unknown-user', 'inactive', 'moved');
create index on bounce (domain) where domain is not null;

alter table suppression
  add column category text not null default '',
  add column provider text not null default '',
  add column rule text,
  add column rule_set text,
  add column policy text not null default '',
  add column evidence uuid[] not null default '{}';
create index on suppression (tenant, mode, changed_at, id) where active;

create table contact (                   -- what went well with an e-mail address
  tenant smallint not null,
  mode smallint not null,
  address_hash bytea not null,
  day date not null,                     -- of the newest acceptance (UTC)
  accepted bigint not null,              -- bit n: a mail was accepted n days before `day`; 62 of them
  read_on date,                          -- opened, clicked, or delivered by a receipt
  primary key (tenant, mode, address_hash)
) with (fillfactor = 85);                -- a row changes in place, once on each day on which it is written to
create index on contact (day);

create table pulse (                     -- the breaker's figures, by the minute; provider '': mails sent to all
  mode smallint not null,
  provider text not null,
  minute timestamptz not null,
  count int not null,
  primary key (mode, provider, minute)
) with (fillfactor = 70);

create table breaker (                   -- kept: which provider was doubted when
  id uuid primary key,
  mode smallint not null,
  provider text not null,
  doubtful_from timestamptz not null,
  opened_at timestamptz not null,
  closed_at timestamptz,
  refused int not null,                  -- unknown-user in the window that opened it
  expected real not null,                -- what that window usually holds
  real boolean not null default false    -- an operator said that the mailboxes are gone indeed: it counts as usual
);
create unique index on breaker (mode, provider) where closed_at is null;
create index on breaker (mode, provider, opened_at);

create table parked (                    -- what would be barred if its provider were believed
  id uuid primary key,
  breaker_id uuid not null references breaker (id),
  tenant smallint not null,
  mode smallint not null,
  address_hash bytea not null,
  scope smallint not null,
  reason smallint not null,
  parked_at timestamptz not null,
  state smallint not null default 0,     -- domain/parking.py
  decided_at timestamptz,
  actor text,
  note text,
  bounce_id uuid not null,
  message text,
  recipient text,
  category text not null,
  provider text not null,
  rule text,
  rule_set text,
  policy text not null,
  evidence uuid[] not null
);
create unique index on parked (tenant, mode, address_hash, scope) where state = 0;
create index on parked (tenant, mode, parked_at, id);
create index on parked (breaker_id, state);
create index on parked (tenant, mode, recipient) where recipient is not null;

create table domain (                    -- of addresses that were said to have none; every tenant's, live alone
  name text primary key,
  state smallint not null default 0,     -- domain/domains.py
  due_at timestamptz not null,
  asked_at timestamptz,
  since timestamptz not null,            -- of the state
  tries smallint not null default 0,     -- without an answer, one after the other
  answer text
);
create index on domain (due_at);

create table health (                    -- blocks: about the sender, never about an address
  tenant smallint not null,
  mode smallint not null,
  day date not null,
  sender smallint not null,
  about text not null,                   -- the IP address that the refusal names, else the domain the mail was from
  provider text not null,
  category text not null,
  count bigint not null,
  last_at timestamptz not null,
  last_bounce uuid not null,
  primary key (tenant, mode, day, sender, about, provider, category)
);

create table figure (                    -- roll-ups, moved in the transaction that moves what they count
  tenant smallint not null,
  mode smallint not null,
  grain smallint not null,               -- 0 hour, 1 day (UTC)
  bucket timestamptz not null,
  category text collate "C" not null,
  provider text collate "C" not null,
  from_domain text collate "C" not null,
  communication text collate "C" not null,
  facts bigint not null,
  first bigint not null,                 -- facts about addresses of which none was known
  suppressed bigint not null,
  lifted bigint not null,
  parked bigint not null,
  primary key (tenant, mode, grain, bucket, category, provider, from_domain, communication)
) with (fillfactor = 80);
