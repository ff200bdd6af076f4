-- A bounce can arrive days after its recipient was erased: it is stored nameless.
create table erased (
  tenant smallint not null,
  mode smallint not null,
  recipient_key bytea not null,          -- SHA-256 of the recipient's key
  at timestamptz not null,
  primary key (tenant, mode, recipient_key)
);
