-- The twin of 001_v2_schema_updates.sql for SQLite, with the same result.

-- SQLite adds one column at a time. It can't add a column whose default is an expression to a
-- table with rows; the tool then rebuilds the table as SQLite's manual says.
ALTER TABLE pipelines ADD COLUMN retry_attempts INTEGER DEFAULT 3;
ALTER TABLE pipelines ADD COLUMN timeout_seconds INTEGER DEFAULT 300;
ALTER TABLE pipelines ADD COLUMN created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP;
ALTER TABLE pipelines ADD COLUMN updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP;

CREATE TABLE pipeline_metrics (
    id INTEGER PRIMARY KEY,
    pipeline_id INTEGER REFERENCES pipelines(id),
    metric_name VARCHAR(255) NOT NULL CHECK (length(metric_name) <= 255),
    metric_value DOUBLE PRECISION NOT NULL,
    timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    labels TEXT
);

CREATE INDEX idx_pipeline_metrics_pipeline_id ON pipeline_metrics(pipeline_id);
CREATE INDEX idx_pipeline_metrics_timestamp ON pipeline_metrics(timestamp);
CREATE INDEX idx_pipeline_metrics_name ON pipeline_metrics(metric_name);

UPDATE pipelines
SET retry_attempts = 3, timeout_seconds = 300
WHERE retry_attempts IS NULL;

-- SQLite can't change NEW in a BEFORE trigger. The condition ends the recursion where
-- recursive_triggers is on.
CREATE TRIGGER update_pipelines_updated_at
    AFTER UPDATE ON pipelines
    FOR EACH ROW WHEN NEW.updated_at IS NOT CURRENT_TIMESTAMP
BEGIN
    UPDATE pipelines SET updated_at = CURRENT_TIMESTAMP WHERE id = NEW.id;
END;
