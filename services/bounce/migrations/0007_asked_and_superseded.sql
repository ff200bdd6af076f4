alter table bounce
  -- the rules that were asked in vain where the model answered: going back to an earlier set finds what its rules would
  -- have read otherwise. Facts from before have none, and are undone by the model's own name
  add column asked text,
  -- void because its mail was read again and said something else; said once more it counts again
  add column superseded boolean not null default false;
