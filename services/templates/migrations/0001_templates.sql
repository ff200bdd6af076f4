-- A template is one channel's text in its locales; publishing freezes it as a version.

create table template (
  tenant smallint not null,
  mode smallint not null,
  name text not null,
  channel smallint not null,
  description text not null,
  locales jsonb not null,          -- locale → part → Liquid source
  version int not null,            -- of the draft: grows with each edit, and is its entity tag
  published int,                   -- the latest published version
  published_draft int,             -- the draft that it was made from
  changed_at timestamptz not null,
  primary key (tenant, mode, name)
);

create table template_version (
  tenant smallint not null,
  mode smallint not null,
  name text not null,
  version int not null,
  channel smallint not null,
  locales jsonb not null,
  digest bytea not null,           -- SHA-256 of channel and locales: publishing the same again makes no new version
  published_at timestamptz not null,
  published_by text not null,
  primary key (tenant, mode, name, version)
);
