DROP TABLE IF EXISTS pipelines_old;
CREATE TABLE pipelines_old (id integer PRIMARY KEY, name text NOT NULL, config text NOT NULL, status text NOT NULL, created_at timestamptz);
INSERT INTO pipelines_old
SELECT i + i / 10, 'pipeline ' || i,
       json_strip_nulls(json_build_object('batch_size', CASE WHEN i % 5 > 0 THEN 100 * (1 + i % 20) END, 'parallel_tasks', CASE WHEN i % 7 > 0 THEN 1 + i % 8 END, 'database_url', 'postgres://db' || i % 3 || '/etl', 'log_level', 'info'))::text,
       'active', timestamptz '2023-01-01 00:00:00+00' + i * interval '1 minute'
FROM generate_series(1, :rows) AS g(i);
VACUUM ANALYZE pipelines_old;
