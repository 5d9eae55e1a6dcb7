//! Validation steps and check queries on real databases.

use migrate_core::{
    Cancel, CheckRunner, MigrationPlan, Outcome, StepContext, StepError, StepErrorKind, StepKind,
    StepSite,
};
use migrate_schema::db::Database;
use migrate_schema::validation::ValidationKind;

use serde_json::{Value, json};

use super::place::{both, cancel_soon};

async fn run(db: &Database, step: Value) -> Result<Outcome, StepError> {
    let mut whole = json!({"id": "three", "step_type": "Validation"});
    whole
        .as_object_mut()
        .unwrap()
        .extend(step.as_object().unwrap().clone());
    let plan: MigrationPlan = serde_json::from_value(json!({
        "from_version": "1.5.0", "to_version": "2.0.0", "migration_type": "MajorUpgrade",
        "steps": [whole],
        "validation_checks": [
            {"name": "three", "query": "select count(*) from t", "expected_result": 3.0},
            {"name": "four", "query": "select count(*) from t", "expected_result": 4},
            {"name": "maybe four", "query": "select count(*) from t", "expected_result": 4, "critical": false},
            {"name": "rows", "query": "select a, b from t order by a", "expected_result": [[1, "x"], [2, null], [3, "z"]]},
        ],
    }))
    .unwrap();
    let site = StepSite::alone(&plan, 0);
    let step = ValidationKind::new(db.clone())
        .build(&plan.steps[0], &site)
        .map_err(|findings| StepError::failed(format!("not built: {}", findings[0])))?;
    let cx = StepContext {
        run: migrate_core::RunId::new(chrono::Utc::now(), 1),
        step: "three".parse().unwrap(),
        attempt: 1,
        timeout: std::time::Duration::from_secs(9),
        cancel: Cancel::new(),
        reporter: std::sync::Arc::new(migrate_core::event::Silent),
        drops: [].into(),
    };
    let receipt = step.prepare(&cx).await.unwrap();
    step.run(&cx, &receipt).await
}

#[tokio::test]
async fn checks_pass_or_tell_expected_and_found() {
    for place in both().await {
        place.sql("create table t (a integer, b text); insert into t values (1, 'x'), (2, null), (3, 'z')");
        for good in [
            json!({}),
            json!({"validation": "three"}),
            json!({"validation": "rows"}),
            json!({"validation": "maybe four"}),
            json!({"validation": "select count(*) = 3 from t"}),
            json!({"validation": "select a = 1, b from t order by a"}),
        ] {
            run(&place.db, good.clone())
                .await
                .unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        for (bad, expected) in [
            (json!({"validation": "four"}), "expected 4, found 3"),
            (
                json!({"validation": "select count(*) = 4 from t"}),
                "expected true, found",
            ),
            (
                json!({"validation": "select a from t where a = 9"}),
                "expected true, found []",
            ),
            (
                json!({"validation": "five"}),
                "not built: the plan has no validation check \"five\"",
            ),
            (
                json!({"id": "other"}),
                "not built: the plan has no validation check \"other\"",
            ),
            (
                json!({"validation": "select nothing from t"}),
                "the query failed",
            ),
            (json!({"validation": "delete from t"}), "the query failed"),
        ] {
            let error = run(&place.db, bad.clone()).await.unwrap_err();
            assert!(error.message.starts_with(expected), "{bad}: {error}");
        }
        assert_eq!(place.sql("select count(*) from t"), "3");
    }
}

#[tokio::test]
async fn a_check_that_does_not_end_is_ended() {
    for place in both().await {
        let cancel = Cancel::new();
        cancel_soon(&cancel);
        let sql = "with recursive n(i) as (select 1 union all select i + 1 from n where i > 0) select count(*) from n";
        let error = place.db.query(sql, &cancel).await.unwrap_err();
        assert_eq!(error.kind, StepErrorKind::Interrupted, "{error}");
        assert_eq!(
            place.db.query("select 1", &Cancel::new()).await.unwrap(),
            json!(1)
        );
    }
}
