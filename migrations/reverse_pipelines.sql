-- Pipelines of 2.0 as 1.5 keeps them, for rows that were written after the upgrade. One SELECT over the relation
-- `batch`, which holds rows of `pipelines`; its columns go by name into `pipelines_old`. `cannot_hold` names what
-- 1.5 has no place for; it is null where a row loses nothing. `updated_at` is the upgrade's own bookkeeping.
--
-- Values of the config are carried as they are written; a key that is missing stays away.
SELECT
    id,
    name,
    CASE
        WHEN doc IS NULL THEN config
        ELSE '{' || pg_catalog.concat_ws(
            ',',
            '"database_url":' || (doc -> 'database'::text -> 'url'::text)::text,
            '"log_level":' || (doc -> 'observability'::text -> 'log_level'::text)::text,
            '"batch_size":' || (doc -> 'pipeline'::text -> 'batch_size'::text)::text,
            '"parallel_tasks":' || (doc -> 'pipeline'::text -> 'max_parallel_tasks'::text)::text
        ) || '}'
    END AS config,
    status,
    created_at AT TIME ZONE 'UTC' AS created_at,
    nullif(pg_catalog.concat_ws(
        ', ',
        CASE WHEN doc IS NULL THEN 'config, which is not an object of JSON' END,
        CASE WHEN retry_attempts IS DISTINCT FROM 3 THEN 'retry_attempts' END,
        CASE WHEN timeout_seconds IS DISTINCT FROM 300 THEN 'timeout_seconds' END,
        (
            SELECT pg_catalog.string_agg('config.' || path, ', ' ORDER BY path)
            FROM (
                SELECT key AS path
                FROM pg_catalog.json_each(doc)
                WHERE key NOT IN ('database', 'observability', 'pipeline') OR pg_catalog.json_typeof(value) <> 'object'
                UNION ALL
                SELECT part || '.' || key
                FROM (VALUES ('database'), ('observability'), ('pipeline')) AS parts (part)
                CROSS JOIN LATERAL pg_catalog.json_each(
                    CASE WHEN pg_catalog.json_typeof(doc -> part) = 'object' THEN doc -> part ELSE '{}'::json END
                ) AS inner_key
                WHERE part || '.' || key NOT IN (
                        'database.url', 'observability.log_level', 'pipeline.batch_size', 'pipeline.max_parallel_tasks'
                    )
                    AND (part || '.' || key, value::text) NOT IN (
                        VALUES
                            ('database.pool_size', '10'),
                            ('database.timeout', '30'),
                            ('observability.enable_metrics', 'true'),
                            ('observability.enable_tracing', 'true'),
                            ('observability.metrics_port', '9090'),
                            ('pipeline.retry_attempts', '3'),
                            ('pipeline.timeout', '300')
                    )
            ) AS unknown
        )
    ), '') AS cannot_hold
FROM batch
CROSS JOIN LATERAL (
    SELECT
        CASE
            -- PostgreSQL does not read the escape of a NUL.
            WHEN pg_catalog.strpos(config, '\u0000') > 0 THEN NULL
            WHEN pg_catalog.json_typeof(config::json) = 'object' THEN config::json
        END AS doc
) AS read
