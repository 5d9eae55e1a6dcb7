INSERT INTO pipelines (id, name, config, status, retry_attempts, timeout_seconds, created_at, updated_at)
SELECT id, name,
       '{"database":{"pool_size":10,"timeout":30,"url":' || coalesce(config -> '$.database_url', '""')
       || '},"observability":{"enable_metrics":true,"enable_tracing":true,"log_level":' || coalesce(config -> '$.log_level', '"info"')
       || ',"metrics_port":9090},"pipeline":{"batch_size":' || coalesce(config -> '$.batch_size', '1000')
       || ',"max_parallel_tasks":' || coalesce(config -> '$.parallel_tasks', '4')
       || ',"retry_attempts":3,"timeout":300}}',
       status, 3, 300, datetime(created_at), datetime(created_at)
FROM pipelines_old WHERE true
ON CONFLICT (id) DO UPDATE SET name = excluded.name, config = excluded.config, status = excluded.status, updated_at = CURRENT_TIMESTAMP;
