-- outside a transaction
-- What is unknown stands in a table of its own, kept by a trigger, so that the previous version's workers keep it too.
-- An index of the ledger with `status` in its condition made each record write to the primary key again, and so did
-- pages with room for a few of their rows only: see docs/adr/0223.
create table if not exists doubt (
  notification_id uuid not null,
  address_id bigint not null,
  claimed_at timestamptz not null,
  primary key (notification_id, address_id)
);
create index concurrently if not exists doubt_claimed_at on doubt (claimed_at);

create or replace function keep_doubt() returns trigger language plpgsql set search_path from current as $$
begin
  if new.status = 6 then
    insert into doubt values (new.notification_id, new.address_id, new.claimed_at) on conflict do nothing;
  else
    delete from doubt where notification_id = new.notification_id and address_id = new.address_id;
  end if;
  return null;
end $$;
create or replace trigger keep_doubt after update of status on message for each row
  when ((old.status = 6) <> (new.status = 6)) execute function keep_doubt();

-- locked, so that none of them is settled between the look and the note
insert into doubt
select notification_id, address_id, claimed_at from message where status = 6 order by 1, 2 for share
on conflict do nothing;

-- an index of a partitioned table cannot go concurrently; nothing is read or rewritten under the lock
-- squawk-ignore require-concurrent-index-deletion
drop index if exists message_claimed_at_idx;

create or replace function make_partition(day date) returns boolean language plpgsql as $$
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
    if base = 'message' then -- each row is updated once, and its record has a few words more than its claim
      execute format('alter table %I set (fillfactor = 45)', name);
    end if;
    execute format('alter table %I attach partition %I for values from (%L) to (%L)', base, name, low, high);
  end loop;
  return true;
end $$;
do $$
declare
  day text;
begin
  for day in select inhrelid::regclass from pg_inherits where inhparent = 'message'::regclass loop
    execute format('alter table %s set (fillfactor = 45)', day);
  end loop;
end $$;
