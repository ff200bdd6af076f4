alter table receipt add column vendor_class text; -- the vendor's own reading of a refusal, in its words

create table nonce (                 -- what a signature that does not cover the body is valid for; dropped by age
  provider text not null,
  nonce text not null,
  body bytea not null,               -- SHA-256 of the first body that it came with
  at timestamptz not null,
  primary key (provider, nonce)
);
create index on nonce (at);
