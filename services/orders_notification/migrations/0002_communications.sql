-- Communications: drafts that people edit, releases that never change.

create table communication (
  tenant smallint not null,
  mode smallint not null,
  name text not null,
  definition jsonb not null,
  version int not null,            -- of the draft: grows with each edit, and is its entity tag
  release_id uuid,                 -- the active release; null: never published, or retired
  released int,                    -- the latest release's version
  released_draft int,              -- the draft that it was made from
  retired_at timestamptz,
  changed_at timestamptz not null,
  primary key (tenant, mode, name)
);

create table release (
  id uuid primary key,             -- UUIDv7
  tenant smallint not null,
  mode smallint not null,
  communication text not null,
  version int not null,
  digest bytea not null,           -- SHA-256 of the bundle without id and version: the same again is no new release
  bundle jsonb not null,           -- all that delivery needs, template sources included
  trigger text not null,
  condition text,
  recipient text,
  published_at timestamptz not null,
  published_by text not null,
  unique (tenant, mode, communication, version)
);
