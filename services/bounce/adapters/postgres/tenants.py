"""Tenants that have rows in a table."""


def tenants_in(table: str) -> str:
    """A recursive query `t (tenant)`: jumps from one tenant to the next by the table's index; ends with null."""
    return f"""
with recursive t (tenant) as (
  select min(tenant) from {table}
  union all select (select min(tenant) from {table} where tenant > t.tenant) from t where t.tenant is not null)
"""  # noqa: S608 - our own statement
