-- migrations/001_v2_schema_updates.sql

-- Adicionar novas colunas
ALTER TABLE pipelines 
ADD COLUMN retry_attempts INTEGER DEFAULT 3,
ADD COLUMN timeout_seconds INTEGER DEFAULT 300,
ADD COLUMN created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
ADD COLUMN updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP;

-- Criar nova tabela para métricas
CREATE TABLE pipeline_metrics (
    id SERIAL PRIMARY KEY,
    pipeline_id INTEGER REFERENCES pipelines(id),
    metric_name VARCHAR(255) NOT NULL,
    metric_value DOUBLE PRECISION NOT NULL,
    timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    labels JSONB
);

CREATE INDEX idx_pipeline_metrics_pipeline_id ON pipeline_metrics(pipeline_id);
CREATE INDEX idx_pipeline_metrics_timestamp ON pipeline_metrics(timestamp);
CREATE INDEX idx_pipeline_metrics_name ON pipeline_metrics(metric_name);

-- Migrar dados existentes
UPDATE pipelines 
SET retry_attempts = 3, timeout_seconds = 300 
WHERE retry_attempts IS NULL;

-- Criar trigger para updated_at
CREATE OR REPLACE FUNCTION update_updated_at_column()
RETURNS TRIGGER AS $$
BEGIN
    NEW.updated_at = CURRENT_TIMESTAMP;
    RETURN NEW;
END;
$$ language 'plpgsql';

CREATE TRIGGER update_pipelines_updated_at 
    BEFORE UPDATE ON pipelines 
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
