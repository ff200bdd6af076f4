-- The send ledger: accounts of requests, the queue of chunks, one row per message, and what steers them.

create table request (               -- one per envelope: inbox mark, account, recipients and variables
  id uuid primary key,
  tenant smallint not null,
  mode smallint not null,
  cause_id uuid not null,
  cause_kind text not null,
  parent_id uuid,
  release_id uuid not null,
  communication text not null,
  subject text,
  variant smallint not null default 0,
  lane smallint not null,
  on_unknown smallint not null,
  secret boolean not null default false, -- the body goes as soon as everything is final
  expires_at timestamptz not null,
  received_at timestamptz not null default now(),
  cancelled_at timestamptz,
  settled_at timestamptz,
  traceparent text,
  marks bytea not null,              -- 8 bytes a recipient, keyed: finds the slots of somebody to be erased
  body bytea,                        -- one sealed slot per recipient; null once it is wiped
  recipients int not null,
  extra int not null default 0,
  pending int not null,
  sent int not null default 0,
  failed int not null default 0,
  skipped int not null default 0,
  suppressed int not null default 0,
  unknown int not null default 0,
  constraint account_adds_up check (
    pending >= 0 and sent >= 0 and failed >= 0 and skipped >= 0 and suppressed >= 0 and unknown >= 0
    and pending + sent + failed + skipped + suppressed + unknown = recipients + extra)
) with (fillfactor = 70);            -- the account moves several times: room for updates on the same page
-- sealed bytes and short-lived events: compressing them costs more than it saves
alter table request alter column body set storage external;
alter table request alter column marks set storage external;
alter table outbox alter column payload set storage external;
create index on request (cause_id);
create index on request (received_at);

create table work (                  -- the queue; a row goes when its chunk is recorded
  id bigint generated always as identity primary key,
  request_id uuid not null,
  lane smallint not null,
  due_at timestamptz not null,
  ordinals int[] not null,
  plan_step smallint not null default 0,
  attempt smallint not null default 1,
  reason smallint not null default 0, -- why it waits; 0: its turn has not come
  calling boolean not null default false,
  held boolean not null default false,
  held_sender smallint,
  lease int not null default 0,
  returns smallint not null default 0, -- orderly give-backs in a row: the exponent of the back-off
  crashes smallint not null default 0,
  leased_until timestamptz not null default '-infinity'
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000);
-- a leased row leaves the queue's index, so that neither leased nor held rows stand at its head
create index work_due on work (lane, due_at) where not held and leased_until = '-infinity';
create index work_leased on work (leased_until) where leased_until > '-infinity';
create index on work (request_id);
create index work_held on work (id) where held;

create table message (               -- the ledger
  notification_id uuid not null,
  address_id bigint not null,        -- 0: refused before an address was found
  request_id uuid not null,
  recipient_id bigint,
  ordinal int not null,
  claimed_at timestamptz not null,
  recorded_at timestamptz,
  status smallint not null,
  reason smallint not null default 0,
  address_hash bytea,                -- keyed; what `bounce` asks for by return path
  channel smallint not null,
  sender smallint not null,
  plan_step smallint not null,
  variant smallint not null,
  locale text,
  attempt smallint not null,
  duplicates smallint not null default 0,
  provider_ref text,
  detail text,                       -- the provider's words, or what the reason's sentence needs
  content_digest bytea,
  primary key (notification_id, address_id)
) partition by range (notification_id);
create index on message (claimed_at) where status = 6; -- unknown; the only secondary index

create table attempt (               -- superseded attempts only; the message row is its last attempt
  notification_id uuid not null,
  address_id bigint not null,
  attempt smallint not null,
  status smallint not null,
  reason smallint not null,
  provider_ref text,
  recorded_at timestamptz,
  primary key (notification_id, address_id, attempt)
) partition by range (notification_id);

-- One day of the ledger: bounds are the 48 time bits of the causes' ids. Attached, not created in place, because
-- `create … partition of` would lock the whole ledger exclusively.
create function make_partition(day date) returns boolean language plpgsql as $$
declare
  low uuid := (lpad(to_hex((extract(epoch from day::timestamp) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
  high uuid := (lpad(to_hex((extract(epoch from (day + 1)::timestamp) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
  base text;
  name text;
begin
  perform pg_advisory_xact_lock(hashtext('delivery partitions'));
  if to_regclass('message_' || to_char(day, 'YYYYMMDD')) is not null then
    return false;
  end if;
  foreach base in array array['message', 'attempt'] loop
    name := base || '_' || to_char(day, 'YYYYMMDD');
    execute format('create table %I (like %I including all)', name, base);
    execute format('alter table %I set (fillfactor = 85)', name); -- each row is updated once
    execute format('alter table %I attach partition %I for values from (%L) to (%L)', base, name, low, high);
  end loop;
  return true;
end $$;
select make_partition((now() at time zone 'utc')::date + n) from generate_series(-1, 3) as n;

create table receipt (               -- deduplicates callbacks; dropped by age
  provider text not null,
  event_id text not null,
  notification_id uuid not null,
  address_id bigint not null,
  attempt smallint not null,
  kind smallint not null,
  at timestamptz not null,
  detail text,
  primary key (provider, event_id)
);
create index on receipt (notification_id);
create index on receipt (at);

create table suppression (           -- projection of bounce's; lifted ones stay as tombstones
  tenant smallint not null,
  mode smallint not null,
  address_hash bytea not null,
  scope smallint not null,           -- 0: all, 1: marketing
  reason smallint not null,
  version bigint not null,
  active boolean not null,
  primary key (tenant, mode, address_hash, scope)
);

create table hold (
  tenant smallint not null,
  mode smallint not null,
  kind text not null,                -- cause, release, sender, tenant
  key text not null,
  version bigint not null,
  active boolean not null,
  note text,
  actor text not null,
  changed_at timestamptz not null,
  primary key (tenant, mode, kind, key)
);
create index hold_active on hold (tenant, mode, kind, key) where active;

create table throttle (              -- one row per limited sender, shared by all workers
  tenant smallint not null,
  mode smallint not null,
  sender smallint not null,
  rate float8 not null,              -- messages a second
  burst float8 not null,
  available float8 not null,
  at timestamptz not null,
  primary key (tenant, mode, sender)
);

create table sender (                -- a tenant's identity on a channel
  tenant smallint not null,
  mode smallint not null,
  number smallint not null,          -- the tenant's own numbering
  name text not null,
  channel smallint not null,
  account jsonb not null,            -- without its secrets
  secrets bytea,                     -- sealed
  rate float8,
  burst float8,
  version bigint not null,
  changed_at timestamptz not null,
  primary key (tenant, mode, number)
);

create table release (               -- projection: bundles pulled from orders-notification, by id
  id uuid primary key,
  tenant smallint not null,
  mode smallint not null,
  communication text not null,
  version int not null,
  digest text not null,
  active boolean not null,           -- never true again once it was false
  steps smallint,                    -- steps of its plan; null until the bundle is here
  bundle bytea,
  fetched_at timestamptz
);

create table daily (                 -- accounts rolled up before their day is dropped
  day date not null,
  tenant smallint not null,
  mode smallint not null,
  communication text not null,
  requests int not null,
  recipients bigint not null,
  extra bigint not null,
  sent bigint not null,
  failed bigint not null,
  skipped bigint not null,
  suppressed bigint not null,
  unknown bigint not null,
  primary key (day, tenant, mode, communication)
);
