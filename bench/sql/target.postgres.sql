DROP TABLE IF EXISTS pipelines;
CREATE TABLE pipelines (id integer PRIMARY KEY, name text NOT NULL, config text NOT NULL, status text NOT NULL, retry_attempts integer DEFAULT 3, timeout_seconds integer DEFAULT 300, created_at timestamp DEFAULT CURRENT_TIMESTAMP, updated_at timestamp DEFAULT CURRENT_TIMESTAMP);
CHECKPOINT;
