create table tenant (
    number smallint primary key check (number > 0),
    name text not null unique,
    default_locale text not null,
    zone text not null,
    version bigint not null default 1,
    changed_at timestamptz not null
);

create table topic (
    tenant smallint not null references tenant,
    mode smallint not null,
    name text not null,
    category smallint not null,
    description text not null,
    active boolean not null,
    version bigint not null default 1,
    changed_at timestamptz not null,
    primary key (tenant, mode, name)
);

create table api_key (
    id text primary key,
    tenant smallint not null references tenant,
    mode smallint not null,
    name text not null,
    scopes text[] not null,
    secret_hash bytea not null,
    created_at timestamptz not null,
    created_by text not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    replaces text
);
create index on api_key (tenant, id);
