use super::{Deployment, Store};

fn both(test: impl Fn(&Deployment)) {
    test(&Deployment::v1().rows(20).on(Store::Sqlite));
    test(&Deployment::v1().rows(20).on(Store::Postgres));
}

#[test]
fn hostile_rows_arrive_as_they_are() {
    both(|deployment| {
        let lengths = deployment.sql("SELECT sum(length(name)), count(*) FROM pipelines_old");
        let expected: usize = deployment
            .source
            .iter()
            .map(|row| row.name.chars().count())
            .sum();
        assert_eq!(lengths, format!("{expected}|{}", deployment.source.len()));
        let row = deployment
            .source
            .iter()
            .find(|row| row.name.contains('🚀'))
            .unwrap();
        let name = deployment.sql(&format!(
            "SELECT name FROM pipelines_old WHERE id = {}",
            row.id
        ));
        assert_eq!(name, row.name);
    });
}

#[test]
fn some_rows_are_in_both_tables_and_some_only_in_one() {
    both(|deployment| {
        let shared = "SELECT count(*) FROM pipelines WHERE id IN (SELECT id FROM pipelines_old)";
        let own = "SELECT count(*) FROM pipelines WHERE id NOT IN (SELECT id FROM pipelines_old)";
        assert!(deployment.sql(shared).parse::<u32>().unwrap() > 5);
        assert!(deployment.sql(own).parse::<u32>().unwrap() > 2);
    });
}

#[test]
fn a_snapshot_shows_every_change() {
    both(|deployment| {
        let before = deployment.snapshot();
        assert_eq!(before.difference(&deployment.snapshot()), None);
        deployment.sql("UPDATE pipelines_old SET status = 'changed' WHERE id = 1");
        assert!(
            before
                .difference(&deployment.snapshot())
                .unwrap()
                .contains("changed")
        );

        let before = deployment.snapshot();
        deployment.sql("CREATE INDEX extra ON pipelines (name)");
        assert!(
            before
                .difference(&deployment.snapshot())
                .unwrap()
                .contains("extra")
        );

        let before = deployment.snapshot();
        deployment.edit("config/config.toml", "1000", "1001");
        assert!(
            before
                .difference(&deployment.snapshot())
                .unwrap()
                .contains("config.toml")
        );
    });
}

#[test]
#[should_panic(expected = "is missing")]
fn a_row_that_was_not_migrated_is_found() {
    let deployment = Deployment::v1().rows(20).sqlite();
    deployment.sql(
        "ALTER TABLE pipelines ADD COLUMN retry_attempts integer DEFAULT 3;
         ALTER TABLE pipelines ADD COLUMN timeout_seconds integer DEFAULT 300;
         ALTER TABLE pipelines ADD COLUMN created_at text DEFAULT '2024-01-01 00:00:00';
         ALTER TABLE pipelines ADD COLUMN updated_at text DEFAULT '2024-01-01 00:00:00'",
    );
    deployment.must_be_v2();
}
