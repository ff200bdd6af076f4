-- What rules do, what no rule knew, who says otherwise; and what would be barred under other rules or numbers.

alter table bounce
  add column if not exists stage text,            -- the SMTP command that was answered, where the report tells it
  add column if not exists vendor text,           -- the mail vendor that had an opinion of its own
  add column if not exists vendor_class text,     -- in its own words: Permanent/NoEmail, hard_bounce, 10
  add column if not exists vendor_category text,  -- the category that this means, where it means exactly one
  add column if not exists model_category text,   -- what the model makes of the words
  add column if not exists model_confidence real;

-- Roll-ups, moved in the transaction of the facts. `last_bounce`: the newest fact behind the count.

create table rule_hit (
  tenant smallint not null,
  mode smallint not null,
  day date not null,                     -- UTC
  rule text collate "C" not null,
  part smallint not null,                -- domain/tallies.py
  winner text collate "C" not null,      -- the rule that decided; empty: none did
  count bigint not null,
  last_at timestamptz not null,
  last_bounce uuid not null,
  primary key (tenant, mode, day, rule, part, winner)
) with (fillfactor = 80);
create index on rule_hit (tenant, mode, rule, day);

create table unread (                    -- replies that no rule knew
  tenant smallint not null,
  mode smallint not null,
  day date not null,
  template_id uuid not null,             -- digest of what is the same in all of them
  provider text collate "C" not null,
  count bigint not null,
  last_at timestamptz not null,
  last_bounce uuid not null,
  primary key (tenant, mode, day, template_id, provider)
) with (fillfactor = 80);
create index on unread (tenant, mode, template_id, day);

create table opinion (                   -- what vendors and the model make of the same replies, agreeing or not
  tenant smallint not null,
  mode smallint not null,
  day date not null,
  who text collate "C" not null,         -- a vendor's name, or `model`
  other text collate "C" not null,       -- its category
  category text collate "C" not null,    -- ours
  rule text collate "C" not null,        -- empty: no rule decided
  provider text collate "C" not null,
  count bigint not null,
  last_at timestamptz not null,
  last_bounce uuid not null,
  primary key (tenant, mode, day, who, other, category, rule, provider)
) with (fillfactor = 80);

-- The figures once more without domain and communication, for the many questions that do not ask for them.
insert into figure (tenant, mode, grain, bucket, category, provider, from_domain, communication, facts, first, suppressed,
                    lifted, parked)
select tenant, mode, grain + 2, bucket, category, provider, '', '', sum(facts), sum(first), sum(suppressed), sum(lifted),
  sum(parked)
from figure group by tenant, mode, grain, bucket, category, provider;

create table replay (                    -- the policy played again over stored facts
  id uuid primary key,
  tenant smallint not null,
  mode smallint not null,
  asked jsonb not null,                  -- domain/replays.py: the time, the rules, the numbers
  actor text not null,
  created_at timestamptz not null,
  state smallint not null default 0,     -- 0 waiting, 1 running, 2 done, 3 cancelled, 4 failed
  due_at timestamptz not null default now(), -- of the lease, by the database's clock: who runs it pushes it ahead
  attempts smallint not null default 0,
  started_at timestamptz,
  ended_at timestamptz,
  facts_done bigint not null default 0,
  facts_total bigint,
  result jsonb,
  problem text
);
create index on replay (tenant, mode, created_at, id);
create index on replay (due_at) where state < 2;

create table replay_change (             -- an address that would be barred, or would be no longer
  replay_id uuid not null references replay (id) on delete cascade,
  ordinal bigint not null,
  appears boolean not null,
  scope smallint not null,
  address_hash bytea not null,
  recipient text,
  bounce_id uuid not null,               -- the fact that makes the difference
  was jsonb,                             -- of this fact: category, rule, policy, under the rules in force
  becomes jsonb,
  primary key (replay_id, ordinal)
);
create index on replay_change (recipient) where recipient is not null;
