-- Pipelines of 1.5 as 2.0 keeps them. One SELECT over the relation `batch`; its columns go by name into the target.
-- on-conflict: update name, config, status; set updated_at = CURRENT_TIMESTAMP
--
-- Values of the old config are carried as they are written (`->` on json gives the text of a value); only the
-- white space inside lists and objects goes. A key that is missing gets its default, a null stays.
-- PostgreSQL does not read the escape of a NUL; a document that has one is read with a mark in its place.
SELECT
    id,
    name,
    CASE
        -- A cast that fails stops the row, with this text as the reason.
        WHEN config IS NULL THEN (('config is NULL' || pg_catalog.left(id::text, 0))::boolean)::text
        WHEN pg_catalog.strpos(config, '\u0000') > 0 THEN (
            SELECT
                CASE
                    WHEN pg_catalog.strpos(config, mark) > 0 THEN (('config holds the mark for a NUL' || pg_catalog.left(id::text, 0))::boolean)::text
                    ELSE pg_catalog.replace(
                        '{"database":{"pool_size":10,"timeout":30,"url":'
                        || coalesce(pg_catalog.regexp_replace((doc -> 'database_url'::text)::text, tidy, '\1', 'g'), '""')
                        || '},"observability":{"enable_metrics":true,"enable_tracing":true,"log_level":'
                        || coalesce(pg_catalog.regexp_replace((doc -> 'log_level'::text)::text, tidy, '\1', 'g'), '"info"')
                        || ',"metrics_port":9090},"pipeline":{"batch_size":'
                        || coalesce(pg_catalog.regexp_replace((doc -> 'batch_size'::text)::text, tidy, '\1', 'g'), '1000')
                        || ',"max_parallel_tasks":'
                        || coalesce(pg_catalog.regexp_replace((doc -> 'parallel_tasks'::text)::text, tidy, '\1', 'g'), '4')
                        || ',"retry_attempts":3,"timeout":300}}',
                        mark,
                        '\u0000'
                    )
                END
            FROM (
                SELECT
                    '\ue000\uf8ff\ue000' AS mark,
                    '("(\\.|[^"\\])*")|[ \t\n\r]+' AS tidy,
                    -- After an even number of backslashes it is an escape.
                    pg_catalog.regexp_replace(config, '(?<!\\)((\\\\)*)\\u0000', '\1\\ue000\\uf8ff\\ue000', 'g')::json AS doc
            ) AS marked
        )
        -- No list or object below the outermost one: nothing to tidy, which is the fast way.
        WHEN pg_catalog.strpos(config, '[') = 0 AND pg_catalog.strpos(pg_catalog.substr(config, 2), '{') = 0 THEN
            '{"database":{"pool_size":10,"timeout":30,"url":' || coalesce(url, '""')
            || '},"observability":{"enable_metrics":true,"enable_tracing":true,"log_level":' || coalesce(log_level, '"info"')
            || ',"metrics_port":9090},"pipeline":{"batch_size":' || coalesce(batch_size, '1000')
            || ',"max_parallel_tasks":' || coalesce(parallel_tasks, '4')
            || ',"retry_attempts":3,"timeout":300}}'
        ELSE
            '{"database":{"pool_size":10,"timeout":30,"url":'
            || coalesce(pg_catalog.regexp_replace(url, '("(\\.|[^"\\])*")|[ \t\n\r]+', '\1', 'g'), '""')
            || '},"observability":{"enable_metrics":true,"enable_tracing":true,"log_level":'
            || coalesce(pg_catalog.regexp_replace(log_level, '("(\\.|[^"\\])*")|[ \t\n\r]+', '\1', 'g'), '"info"')
            || ',"metrics_port":9090},"pipeline":{"batch_size":'
            || coalesce(pg_catalog.regexp_replace(batch_size, '("(\\.|[^"\\])*")|[ \t\n\r]+', '\1', 'g'), '1000')
            || ',"max_parallel_tasks":'
            || coalesce(pg_catalog.regexp_replace(parallel_tasks, '("(\\.|[^"\\])*")|[ \t\n\r]+', '\1', 'g'), '4')
            || ',"retry_attempts":3,"timeout":300}}'
    END AS config,
    status,
    3 AS retry_attempts,
    300 AS timeout_seconds,
    created_at AT TIME ZONE 'UTC' AS created_at,
    created_at AT TIME ZONE 'UTC' AS updated_at
FROM batch
-- Read once, not again for every value: that is what OFFSET 0 keeps the planner from. Where many rows have the
-- same config, it can remember what came out of one.
CROSS JOIN LATERAL (
    SELECT
        (parsed.doc -> 'database_url'::text)::text AS url,
        (parsed.doc -> 'log_level'::text)::text AS log_level,
        (parsed.doc -> 'batch_size'::text)::text AS batch_size,
        (parsed.doc -> 'parallel_tasks'::text)::text AS parallel_tasks
    -- The escape of a NUL is seen to above.
    FROM (SELECT CASE WHEN pg_catalog.strpos(config, '\u0000') = 0 THEN config::json END AS doc OFFSET 0) AS parsed
    OFFSET 0
) AS old
