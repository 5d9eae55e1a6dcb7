INSERT INTO pipelines (id, name, config, status, retry_attempts, timeout_seconds, created_at, updated_at)
SELECT id, name,
       '{"database":{"pool_size":10,"timeout":30,"url":' || coalesce((config::json -> 'database_url')::text, '""')
       || '},"observability":{"enable_metrics":true,"enable_tracing":true,"log_level":' || coalesce((config::json -> 'log_level')::text, '"info"')
       || ',"metrics_port":9090},"pipeline":{"batch_size":' || coalesce((config::json -> 'batch_size')::text, '1000')
       || ',"max_parallel_tasks":' || coalesce((config::json -> 'parallel_tasks')::text, '4')
       || ',"retry_attempts":3,"timeout":300}}',
       status, 3, 300, created_at AT TIME ZONE 'UTC', created_at AT TIME ZONE 'UTC'
FROM pipelines_old
ON CONFLICT (id) DO UPDATE SET name = excluded.name, config = excluded.config, status = excluded.status, updated_at = CURRENT_TIMESTAMP;
