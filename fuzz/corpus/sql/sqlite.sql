PRAGMA foreign_keys = OFF;
CREATE TRIGGER t AFTER INSERT ON a WHEN new.x > 1 BEGIN
  UPDATE b SET y = CASE WHEN new.x > 2 THEN 'end;' ELSE x'00' END;
  SELECT raise(ABORT, 'no; way');
END;
CREATE TABLE [a;b] (`c;d` TEXT, "e;f" BLOB); -- end
INSERT INTO t VALUES ('it''s', 1e5, @a, :b, $c, ?1)
