-- Why a bounce was judged as it was: the rule that decided, and what it decided on.

alter table bounce
  add column rule text,                  -- the rule that won; null: the form of the report decided, or nothing did
  add column matched text[],             -- every rule that matched, the winner first
  add column confidence real,
  add column provider text,              -- by the host that refused, or the domain of the address
  add column template text,              -- the text without its variable parts
  add column rule_set text;              -- digest of the rules that were asked
