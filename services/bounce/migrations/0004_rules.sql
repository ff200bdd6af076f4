-- Rules that people made, the rule sets that they published, and what rules that only look would have said.

create table rule (                            -- as it is being worked on; what is in force stands in rule_set
  id text collate "C" primary key,
  place bigint generated always as identity,   -- the older one wins among equals
  layer smallint not null,                     -- domain/rules/rule.py
  state smallint not null,                     -- domain/rules/entries.py
  version int not null,
  document jsonb not null,                     -- as its author wrote it
  author text not null,
  created_at timestamptz not null,
  changed_by text not null,
  changed_at timestamptz not null
);

create table rule_version (                    -- every version of each
  rule_id text collate "C" not null references rule (id),
  version int not null,
  state smallint not null,
  document jsonb not null,
  changed_by text not null,
  changed_at timestamptz not null,
  primary key (rule_id, version)
);

create table rule_set (                        -- the one with the highest number is in force
  number int primary key,
  digest text not null,                        -- of all rules in it, the shipped ones of its day too
  rules jsonb not null,                        -- organisation and emergency, as they were published
  emergency boolean not null,
  restores int references rule_set (number),   -- rolled back to this one
  undoes boolean not null,                     -- and lets go what the sets between had barred otherwise
  author text not null,
  note text not null,
  published_at timestamptz not null,
  regression jsonb not null
);
insert into rule_set (number, digest, rules, emergency, undoes, author, note, published_at, regression)
values (0, '', '[]', false, false, 'system', 'the shipped rules alone', now(), '{}');

create table rule_set_digest (                 -- a set has another digest after each change of the shipped rules
  number int not null references rule_set (number),
  digest text not null,
  since timestamptz not null,
  primary key (number, digest)
);

alter table bounce add column shadow text[];   -- rules that matched and only look
