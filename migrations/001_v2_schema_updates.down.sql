-- Takes back 001_v2_schema_updates.sql on PostgreSQL.
-- A function of this name that was there before the upgrade is brought back, not dropped:
-- the tool leaves out the DROP FUNCTION and restores the definition it replaced.

DROP TRIGGER update_pipelines_updated_at ON pipelines;

DROP FUNCTION update_updated_at_column();

DROP TABLE pipeline_metrics;

ALTER TABLE pipelines
DROP COLUMN updated_at,
DROP COLUMN created_at,
DROP COLUMN timeout_seconds,
DROP COLUMN retry_attempts;
