-- Pipelines of 2.0 as 1.5 keeps them, for rows that were written after the upgrade. One SELECT over the relation
-- `batch`, which holds rows of `pipelines`; its columns go by name into `pipelines_old`. `cannot_hold` names what
-- 1.5 has no place for; it is null where a row loses nothing. `updated_at` is the upgrade's own bookkeeping.
--
-- Values of the config are carried as they are written (`->` gives the text of a value); a key that is missing
-- stays away.
SELECT
    id,
    name,
    CASE
        WHEN doc IS NULL THEN config
        ELSE '{' || concat_ws(
            ',',
            '"database_url":' || (doc -> '$.database.url'),
            '"log_level":' || (doc -> '$.observability.log_level'),
            '"batch_size":' || (doc -> '$.pipeline.batch_size'),
            '"parallel_tasks":' || (doc -> '$.pipeline.max_parallel_tasks')
        ) || '}'
    END AS config,
    status,
    created_at,
    nullif(concat_ws(
        ', ',
        CASE WHEN doc IS NULL THEN 'config, which is not an object of JSON' END,
        CASE WHEN retry_attempts IS NOT 3 THEN 'retry_attempts' END,
        CASE WHEN timeout_seconds IS NOT 300 THEN 'timeout_seconds' END,
        CASE WHEN (SELECT count(*) <> count(DISTINCT fullkey) FROM json_tree(doc)) THEN 'config, where a key stands twice' END,
        (
            SELECT group_concat('config.' || path, ', ')
            FROM (
                SELECT key AS path, value
                FROM json_each(doc)
                WHERE key NOT IN ('database', 'observability', 'pipeline') OR type <> 'object'
                UNION ALL
                SELECT part || '.' || key, value
                FROM (
                    SELECT 'database' AS part, CASE json_type(doc, '$.database') WHEN 'object' THEN doc -> '$.database' ELSE '{}' END AS inside
                    UNION ALL
                    SELECT 'observability', CASE json_type(doc, '$.observability') WHEN 'object' THEN doc -> '$.observability' ELSE '{}' END
                    UNION ALL
                    SELECT 'pipeline', CASE json_type(doc, '$.pipeline') WHEN 'object' THEN doc -> '$.pipeline' ELSE '{}' END
                ) AS parts, json_each(parts.inside)
                WHERE part || '.' || key NOT IN (
                        'database.url', 'observability.log_level', 'pipeline.batch_size', 'pipeline.max_parallel_tasks'
                    )
                    AND part || '.' || key || ' ' || type || ' ' || coalesce(atom, '') NOT IN (
                        'database.pool_size integer 10',
                        'database.timeout integer 30',
                        'observability.enable_metrics true 1',
                        'observability.enable_tracing true 1',
                        'observability.metrics_port integer 9090',
                        'pipeline.retry_attempts integer 3',
                        'pipeline.timeout integer 300'
                    )
                ORDER BY 1
            )
        )
    ), '') AS cannot_hold
FROM (
    SELECT
        batch.*,
        CASE WHEN json_valid(config, 1) AND json_type(config) = 'object' THEN config END AS doc
    FROM batch
)
