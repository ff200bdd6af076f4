-- A batch updates most rows of these tables at once. With half of each page free, the new versions fit beside the old
-- ones and need no index entries. Rows that exist stay where they are.
alter table rule_hit set (fillfactor = 45);
alter table figure set (fillfactor = 45);
alter table unread set (fillfactor = 45);
alter table opinion set (fillfactor = 45);
alter table health set (fillfactor = 45);
