-- a comment; with a semicolon
CREATE TABLE "a;b" (x text DEFAULT 'it''s; fine', y text DEFAULT E'\';\\');
/* nested /* comments; */ are; one */
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $body$
BEGIN
  EXECUTE $$SELECT ';'$$; -- ;
  RETURN 1;
END $body$;
CREATE FUNCTION g(a int) RETURNS int LANGUAGE SQL BEGIN ATOMIC SELECT a; SELECT CASE WHEN a > 1 THEN 2 ELSE 3 END; END;
INSERT INTO t VALUES (U&'d\0061t\+000061', B'01', X'1f', 1.5e-3, $1);;
SELECT a::int, b->>'c', d ?| array['e'] FROM "f" WHERE x <@ y
