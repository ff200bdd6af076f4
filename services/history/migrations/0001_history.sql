-- Columns instead of documents, a partition a week: history holds a row for every transition of every message.
--
-- Everything is partitioned by the time in its id (48 bits of Unix milliseconds: UUIDv7 and our UUIDv8), so that old
-- weeks are dropped whole. Rows of weeks that have no partition go to the default one. Long keys are indexed by a
-- 64-bit hash and compared in full: an entry of 24 bytes instead of 40 to 60.

create table term (                       -- words that come again and again: communications, event types, sources
  id int generated always as identity primary key,
  word text not null unique
);

create table request (                    -- what all messages of one envelope share
  id uuid primary key,
  cause_id uuid not null,
  release_id uuid not null,
  communication int not null,
  tenant smallint not null,
  mode smallint not null,
  subject text
);
create index on request (hashtextextended(subject, 0)) where subject is not null;
create index on request using brin (cause_id);   -- for the retention alone; its time bits are the request's age

create table transition (
  notification_id uuid not null,
  request_id uuid not null,
  at timestamptz not null,
  address_id bigint not null,
  address_key bigint,                     -- 64 bits of the address's keyed hash
  attempt smallint not null,
  was smallint not null,
  status smallint not null,
  reason smallint not null,
  channel smallint,
  sender smallint not null,
  step smallint not null,
  tenant smallint not null,
  mode smallint not null,
  recipient text,                         -- null: erased
  locale text,
  provider_ref text,
  detail text,
  primary key (notification_id, address_id, attempt, was, status)
) partition by range (notification_id);
create index on transition (hashtextextended(recipient, 0)) where recipient is not null;
create index on transition (address_key) where address_key is not null;

create table receipt (
  notification_id uuid not null,
  event_key bigint not null,              -- 64 bits of (provider, its event id)
  at timestamptz not null,
  address_id bigint not null,
  attempt smallint not null,
  kind smallint not null,
  tenant smallint not null,
  mode smallint not null,
  provider text not null,
  detail text,
  primary key (notification_id, address_id, event_key)
) partition by range (notification_id);

create table rejection (                  -- what the provider said when it refused
  notification_id uuid not null,
  at timestamptz not null,
  address_id bigint not null,
  attempt smallint not null,
  reply_code smallint,
  final boolean not null,
  tenant smallint not null,
  mode smallint not null,
  enhanced_code text,
  error text,
  text text,
  primary key (notification_id, address_id, attempt)
) partition by range (notification_id);

create table decision (
  cause_id uuid not null,                 -- its time bits are when the event was received
  envelope int not null,                  -- 32 bits of the envelope's id: a replay decides again, a redelivery does not
  ordinal smallint not null,
  outcome smallint not null,              -- 0 requested, else the reason's number
  tenant smallint not null,
  mode smallint not null,
  event_type int not null,
  event_source int not null,
  communication int,
  notification_id uuid,
  event_id text not null,
  subject text,
  recipient text,
  detail text,
  primary key (cause_id, envelope, ordinal)
) partition by range (cause_id);
create index on decision (hashtextextended(recipient, 0)) where recipient is not null;
create index on decision (hashtextextended(subject, 0)) where subject is not null;
create index on decision (hashtextextended(event_id, 0));

create table document (                   -- every other event: suppressions, bounces, holds, human actions …
  id uuid not null,
  at timestamptz not null,
  address_key bigint,
  type int not null,
  tenant smallint not null,
  mode smallint not null,
  subject text,
  recipient text,
  message text,
  actor text,
  action text,
  object text,
  body jsonb not null,
  primary key (id)
) partition by range (id);
create index on document (hashtextextended(recipient, 0)) where recipient is not null;
create index on document (hashtextextended(message, 0)) where message is not null;
create index on document (address_key) where address_key is not null;
create index on document (tenant, mode, at, id) where action is not null;

create table transition_default partition of transition default;
create table receipt_default partition of receipt default;
create table rejection_default partition of rejection default;
create table decision_default partition of decision default;
create table document_default partition of document default;

create table erased (                     -- whose events are kept nameless, also when they come late
  tenant smallint not null,
  mode smallint not null,
  recipient_key bytea not null,           -- SHA-256 of the recipient's key
  at timestamptz not null,
  primary key (tenant, mode, recipient_key)
);
