-- The audit is searched by time: rows come in almost in its order, so a summary of page ranges finds them, at a
-- thousandth of a tree's size and next to no cost for whoever writes.
create index on transition using brin (at) with (pages_per_range = 32);
create index on receipt using brin (at) with (pages_per_range = 32);
create index on rejection using brin (at) with (pages_per_range = 32);
create index on document using brin (at) with (pages_per_range = 32);

-- Every table in the audit's one shape. Where a column is a constant, a condition on it leaves the whole table out.
-- decided, message_of: the keys that tables are partitioned by, so that conditions on them open few partitions.
create view record as
select 'decision'::text as kind,
  d.cause_id || '.' || d.envelope || '.' || d.ordinal as id,
  'decision.recorded'::text as type, null::int as type_term,
  to_timestamp(('x' || substr(replace(d.cause_id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0) as at,
  d.tenant, d.mode, d.subject, d.recipient, d.communication, d.cause_id as cause, null::uuid as release,
  d.notification_id as notification, null::text as message, null::smallint as attempt, null::smallint as was,
  null::smallint as status, d.outcome as reason, null::text as reason_word, null::smallint as channel,
  null::smallint as sender, null::text as locale, null::text as provider, null::text as provider_ref,
  null::smallint as receipt, null::smallint as reply_code, null::text as enhanced_code, null::text as error,
  null::boolean as final, null::text as category, null::text as "group", null::text as origin, null::text as scope,
  null::boolean as active, d.event_id, d.event_type, d.event_source, null::text as actor, null::text as action,
  null::text as object, null::bigint as address_key, d.detail, null::jsonb as body,
  d.cause_id as decided, null::uuid as message_of
from decision d
union all
select 'transition', t.notification_id || '.' || t.address_id || '.' || t.attempt || '.' || t.was || '.' || t.status,
  'message.recorded', null, t.at, t.tenant, t.mode, r.subject, t.recipient, r.communication, r.cause_id, r.release_id,
  t.notification_id, t.notification_id || '.' || t.address_id, t.attempt, t.was, t.status, nullif(t.reason, 0), null,
  t.channel, t.sender, t.locale, null, t.provider_ref, null, null, null, null, null, null, null, null, null, null,
  null, null, null, null, null, null, t.address_key, t.detail, null, null, t.notification_id
from transition t join request r on r.id = t.request_id
union all
select 'receipt', c.notification_id || '.' || c.address_id || '.r' || c.event_key, 'receipt.recorded', null, c.at,
  c.tenant, c.mode, t.subject, t.recipient, null, null, null, c.notification_id,
  c.notification_id || '.' || c.address_id, c.attempt, null, null, null, null, null, null, null, c.provider, null,
  c.kind, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, t.address_key,
  c.detail, null, null, c.notification_id
from receipt c left join lateral (
  select m.recipient, m.address_key, r.subject from transition m join request r on r.id = m.request_id
  where m.notification_id = c.notification_id and m.address_id = c.address_id and m.tenant = c.tenant
  order by abs(m.attempt - c.attempt), m.at desc limit 1) t on true
union all
select 'rejection', j.notification_id || '.' || j.address_id || '.x' || j.attempt, 'message.rejected', null, j.at,
  j.tenant, j.mode, t.subject, t.recipient, null, null, null, j.notification_id,
  j.notification_id || '.' || j.address_id, j.attempt, null, null, null, null, t.channel, t.sender, null, null, null,
  null, j.reply_code, j.enhanced_code, j.error, j.final, null, null, null, null, null, null, null, null, null, null,
  null, t.address_key, j.text, null, null, j.notification_id
from rejection j left join lateral (
  select m.recipient, m.address_key, m.channel, m.sender, r.subject
  from transition m join request r on r.id = m.request_id
  where m.notification_id = j.notification_id and m.address_id = j.address_id and m.tenant = j.tenant
  order by abs(m.attempt - j.attempt), m.at desc limit 1) t on true
union all
select 'document', d.id::text, null, d.type, d.at, d.tenant, d.mode, d.subject, d.recipient, null, null, null, null,
  d.message, null, null, null, null, d.body->>'reason', null, null, null, null, null, null,
  (d.body->>'reply_code')::smallint, d.body->>'enhanced_code', null, null, d.body->>'category', d.body->>'group',
  d.body->>'origin', d.body->>'scope', (d.body->>'active')::boolean, null, null, null, d.actor, d.action, d.object,
  d.address_key, coalesce(nullif(d.body->>'text', ''), nullif(d.body->>'note', ''), nullif(d.body->>'why', '')),
  d.body, null, null
from document d;
