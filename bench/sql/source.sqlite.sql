DROP TABLE IF EXISTS pipelines_old;
CREATE TABLE pipelines_old (id integer PRIMARY KEY, name text NOT NULL, config text NOT NULL, status text NOT NULL, created_at text);
INSERT INTO pipelines_old
WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < :rows)
SELECT i + i / 10, 'pipeline ' || i,
       json_patch('{}', json_object('batch_size', CASE WHEN i % 5 > 0 THEN 100 * (1 + i % 20) END, 'parallel_tasks', CASE WHEN i % 7 > 0 THEN 1 + i % 8 END, 'database_url', 'postgres://db' || i % 3 || '/etl', 'log_level', 'info')),
       'active', datetime('2023-01-01', '+' || i || ' minutes')
FROM g;
