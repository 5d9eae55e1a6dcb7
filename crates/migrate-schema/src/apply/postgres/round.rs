//! A way down and up again in one transaction that is rolled back.

use sqlx::PgConnection;

use super::super::failure::Failed;
use super::super::item::Item;
use super::super::options::Options;
use super::super::trial::{Early, Round};
use super::session;
use crate::catalog::Catalog;
use crate::db::Postgres;

/// Leaves nothing.
pub(in super::super) async fn round(
    pg: &Postgres,
    down: &Item,
    up: &Item,
    options: &Options,
) -> Result<Round, Early> {
    let other = |failed: Failed| Early::Other(failed);
    let (connection, _) = session::open(pg).await.map_err(|e| other(e.into()))?;
    let mut tx = pg.begin_on(connection).await.map_err(|e| other(e.into()))?;
    session::limit(&mut tx, options)
        .await
        .map_err(|e| other(e.into()))?;
    run(pg, &mut tx, down, options).await.map_err(Early::Down)?;
    let without = read(&mut tx).await.map_err(other)?;
    if let Err(failed) = run(pg, &mut tx, up, options).await {
        let down = without;
        return Err(Early::Up { down, failed });
    }
    let with = read(&mut tx).await.map_err(other)?;
    tx.rollback().await.map_err(|e| other(e.into()))?;
    Ok(Round {
        down: without,
        up: with,
    })
}

async fn read(tx: &mut PgConnection) -> Result<Catalog, Failed> {
    Catalog::read_postgres(tx)
        .await
        .map_err(|error| Failed::of(error, "the catalog can't be read"))
}

async fn run(
    pg: &Postgres,
    tx: &mut PgConnection,
    item: &Item,
    options: &Options,
) -> Result<(), Failed> {
    super::together::one(pg, tx, item, options)
        .await
        .map_err(|(script, statement, error)| super::together::failed(script, statement, error))?;
    // As a commit would: what waits for it would stand in the way of the next statement.
    sqlx::raw_sql("set constraints all immediate; set constraints all deferred")
        .execute(&mut *tx)
        .await
        .map_err(|error| Failed::of(error.into(), "a constraint does not hold"))?;
    if !item.script.sets_session {
        return Ok(());
    }
    session::reset(tx, options).await.map_err(Failed::from)
}
