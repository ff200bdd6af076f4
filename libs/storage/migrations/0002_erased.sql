-- Who was erased, and when: what arrives late about them is stored nameless or not at all. `bounce` and `history` made
-- this table in migrations of their own.
do $$ begin
  if current_schema() not in ('bounce', 'history') then
    create table erased (
      tenant smallint not null,
      mode smallint not null,
      recipient_key bytea not null,          -- SHA-256 of the recipient's key
      at timestamptz not null,
      primary key (tenant, mode, recipient_key)
    );
    create index on erased (at);
  end if;
end $$;
