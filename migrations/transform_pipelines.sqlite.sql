-- Pipelines of 1.5 as 2.0 keeps them. One SELECT over the relation `batch`; its columns go by name into the target.
-- on-conflict: update name, config, status; set updated_at = CURRENT_TIMESTAMP
--
-- Values of the old config are carried as they are written (`->` gives the text of a value); only the white
-- space inside lists and objects goes. A key that is missing gets its default, a null stays. Of a key that
-- stands twice the last counts. A JSON path that does not parse stops the row, with its text as the reason.
SELECT
    id,
    name,
    '{"database":{"pool_size":10,"timeout":30,"url":'
        || coalesce(old -> '$.database_url', '""')
        || '},"observability":{"enable_metrics":true,"enable_tracing":true,"log_level":'
        || coalesce(old -> '$.log_level', '"info"')
        || ',"metrics_port":9090},"pipeline":{"batch_size":'
        || coalesce(old -> '$.batch_size', '1000')
        || ',"max_parallel_tasks":'
        || coalesce(old -> '$.parallel_tasks', '4')
        || ',"retry_attempts":3,"timeout":300}}' AS config,
    status,
    3 AS retry_attempts,
    300 AS timeout_seconds,
    moment AS created_at,
    moment AS updated_at
FROM (
    SELECT
        id,
        name,
        status,
        CASE
            WHEN config IS NULL THEN json_extract('{}', 'config is NULL')
            WHEN NOT json_valid(config, 1) THEN json_extract('{}', 'config is not valid JSON')
            WHEN (SELECT count(*) <> count(DISTINCT key) FROM json_each(config)) THEN (
                WITH RECURSIVE fewer(doc) AS (
                    SELECT config
                    UNION
                    SELECT CASE
                        WHEN json_type(json_remove(doc, '$.database_url'), '$.database_url') IS NOT NULL THEN json_remove(doc, '$.database_url')
                        WHEN json_type(json_remove(doc, '$.log_level'), '$.log_level') IS NOT NULL THEN json_remove(doc, '$.log_level')
                        WHEN json_type(json_remove(doc, '$.batch_size'), '$.batch_size') IS NOT NULL THEN json_remove(doc, '$.batch_size')
                        WHEN json_type(json_remove(doc, '$.parallel_tasks'), '$.parallel_tasks') IS NOT NULL THEN json_remove(doc, '$.parallel_tasks')
                        ELSE doc
                    END FROM fewer
                )
                SELECT doc FROM fewer ORDER BY length(doc) LIMIT 1
            )
            ELSE config
        END AS old,
        CASE
            WHEN created_at IS NULL THEN NULL
            -- As it is mostly written: one look is enough.
            WHEN typeof(created_at) = 'text'
                AND created_at GLOB '[0-9][0-9][0-9][0-9]-*'
                AND created_at COLLATE BINARY = strftime('%Y-%m-%d %H:%M:%S', created_at, '+0 seconds')
                THEN created_at
            -- Numbers and 'now' mean other things to SQLite's date functions than they do to people.
            WHEN typeof(created_at) <> 'text'
                OR created_at NOT GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'
                OR coalesce(strftime('%Y-%m-%d', created_at, '+0 seconds'), '') NOT GLOB '[0-9][0-9][0-9][0-9]-*'
                -- The 30th of February would become the 1st of March.
                OR strftime('%Y-%m-%d', substr(created_at, 1, 10), '+0 seconds') <> substr(created_at, 1, 10)
                THEN json_extract('{}', 'created_at is not a date or time')
            -- The modifier makes 24:00 the next day. A fraction is carried as it is written: the date functions know milliseconds only.
            WHEN instr(created_at, '.') = 0 THEN strftime('%Y-%m-%d %H:%M:%S', created_at, '+0 seconds')
            ELSE strftime('%Y-%m-%d %H:%M:%S',
                    substr(created_at, 1, instr(created_at, '.') - 1) || ltrim(substr(created_at, instr(created_at, '.') + 1), '0123456789'),
                    '+0 seconds')
                || rtrim(rtrim(substr(created_at, instr(created_at, '.'),
                    1 + length(substr(created_at, instr(created_at, '.') + 1)) - length(ltrim(substr(created_at, instr(created_at, '.') + 1), '0123456789'))), '0'), '.')
        END AS moment
    FROM batch
    -- Keeps SQLite from merging the two queries, which would work out both columns at each of their uses.
    LIMIT -1 OFFSET 0
)
