//! The guide's own algorithm: OFFSET and LIMIT, four tasks, an upsert for each row.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{PgPool, Row as _};
use tokio::sync::Semaphore;

const BATCH: i64 = 1_000;
const TASKS: usize = 4;

const UPSERT: &str = "INSERT INTO pipelines (id, name, config, status, retry_attempts, timeout_seconds, created_at, updated_at) \
     VALUES ($1, $2, $3, $4, 3, 300, $5, $5) ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, \
     config = EXCLUDED.config, status = EXCLUDED.status, updated_at = CURRENT_TIMESTAMP";

/// Copies `pipelines_old` into `pipelines`.
pub(crate) async fn migrate(url: &str) {
    let pool = PgPool::connect(url).await.expect("the server answers");
    let total: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM pipelines_old")
        .fetch_one(&pool)
        .await
        .expect("the rows can be counted");
    let semaphore = Arc::new(Semaphore::new(TASKS));
    let mut tasks = Vec::new();
    for batch in 0..=total.div_euclid(BATCH) {
        let (pool, semaphore) = (pool.clone(), semaphore.clone());
        tasks.push(tokio::spawn(async move {
            let _permit = semaphore.acquire().await.expect("it is never closed");
            migrate_batch(&pool, batch * BATCH)
                .await
                .expect("the batch is written");
        }));
    }
    for task in tasks {
        task.await.expect("the task ends");
    }
    pool.close().await;
}

async fn migrate_batch(pool: &PgPool, offset: i64) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    let records = sqlx::query("SELECT id, name, config, status, created_at FROM pipelines_old ORDER BY id LIMIT $1 OFFSET $2")
        .bind(BATCH)
        .bind(offset)
        .fetch_all(&mut *tx)
        .await?;
    for record in records {
        let config: String = record.get("config");
        let created: DateTime<Utc> = record.get("created_at");
        sqlx::query(UPSERT)
            .bind(record.get::<i32, _>("id"))
            .bind(record.get::<String, _>("name"))
            .bind(transform(&config))
            .bind(record.get::<String, _>("status"))
            .bind(created.naive_utc())
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await
}

fn transform(old: &str) -> String {
    let old: serde_json::Value = serde_json::from_str(old).expect("the source holds JSON");
    let of = |name: &str, default: serde_json::Value| old.get(name).cloned().unwrap_or(default);
    serde_json::json!({
        "pipeline": {"batch_size": of("batch_size", 1000.into()), "max_parallel_tasks": of("parallel_tasks", 4.into()), "retry_attempts": 3, "timeout": 300},
        "database": {"url": of("database_url", "".into()), "pool_size": 10, "timeout": 30},
        "observability": {"log_level": of("log_level", "info".into()), "enable_metrics": true, "enable_tracing": true, "metrics_port": 9090}
    })
    .to_string()
}
