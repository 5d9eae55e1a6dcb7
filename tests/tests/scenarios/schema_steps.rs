//! Schema steps of plans in an application that is not ours: what did not run is never "done".

use migrate_tests::binary::{Run, Tool};
use migrate_tests::deployment::Store;
use migrate_tests::postgres::TestDatabase;
use serde_json::json;

use crate::on_both;

/// A directory with plans of one schema step each, and a database with a table `orders`.
struct Shop {
    dir: tempfile::TempDir,
    postgres: Option<TestDatabase<'static>>,
}

impl Shop {
    fn on(store: Store) -> Self {
        let shop = Self {
            dir: tempfile::tempdir().unwrap(),
            postgres: (store == Store::Postgres).then(TestDatabase::create),
        };
        std::fs::create_dir_all(shop.dir.path().join("migrations/plans")).unwrap();
        shop.sql("create table orders (id integer primary key); insert into orders values (1)");
        shop
    }

    fn plan(&self, from: &str, to: &str, script: &str, text: &str) {
        let migrations = self.dir.path().join("migrations");
        std::fs::write(migrations.join(script), text).unwrap();
        let plan = json!({
            "from_version": from, "to_version": to, "migration_type": "MinorUpgrade",
            "steps": [{
                "id": "schema", "step_type": "SchemaUpdate", "command": script,
                "timeout": "60s", "can_rollback": true,
            }],
        });
        let file = migrations.join(format!("plans/{from}_{to}.json"));
        std::fs::write(file, plan.to_string()).unwrap();
    }

    fn url(&self) -> String {
        match &self.postgres {
            Some(database) => database.url(),
            None => format!("sqlite:{}", self.dir.path().join("shop.db").display()),
        }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let (root, url) = (self.dir.path().to_str().unwrap(), self.url());
        let mut all = vec!["-C", root, "--database-url", &url];
        all.extend(arguments);
        Tool::new(&all).run()
    }

    fn migrate(&self, from: &str, to: &str) -> Run {
        self.run(&["--from", from, "--to", to, "--yes"])
    }

    #[track_caller]
    fn sql(&self, sql: &str) -> String {
        match &self.postgres {
            Some(database) => database.psql(sql),
            None => migrate_tests::sqlite::run(&self.dir.path().join("shop.db"), sql),
        }
    }
}

fn a_number_in_the_middle_of_a_name_skips_no_later_step(store: Store) {
    let shop = Shop::on(store);
    shop.plan(
        "1.0.0",
        "1.1.0",
        "001_orders_v2.sql",
        "alter table orders add column state text;",
    );
    shop.plan(
        "1.1.0",
        "1.2.0",
        "002_loyalty.sql",
        "alter table orders add column points integer;",
    );
    shop.migrate("1.0.0", "1.1.0").expect(0);
    shop.migrate("1.1.0", "1.2.0").expect(0);
    assert_eq!(
        shop.sql("select count(*) from orders where points is null and state is null"),
        "1"
    );
    assert_eq!(shop.sql("select count(*) from schema_versions"), "2");
}

fn a_lower_number_after_a_higher_one_runs(store: Store) {
    let shop = Shop::on(store);
    shop.plan(
        "1.0.0",
        "1.1.0",
        "005_a.sql",
        "alter table orders add column a text;",
    );
    shop.plan(
        "1.1.0",
        "1.2.0",
        "004_b.sql",
        "alter table orders add column b text;",
    );
    shop.migrate("1.0.0", "1.1.0").expect(0);
    shop.migrate("1.1.0", "1.2.0").expect(0);
    assert_eq!(
        shop.sql("select count(*) from orders where a is null and b is null"),
        "1"
    );
}

fn an_applications_own_table_of_versions_is_left_alone(store: Store) {
    let shop = Shop::on(store);
    shop.sql("create table schema_versions (version integer primary key, applied_at timestamp)");
    shop.sql("insert into schema_versions (version) values (40)");
    shop.plan(
        "1.0.0",
        "1.1.0",
        "002_loyalty.sql",
        "alter table orders add column points integer;",
    );
    shop.migrate("1.0.0", "1.1.0")
        .expect(0)
        .says(&["schema_versions is left as it is"]);
    assert_eq!(
        shop.sql("select count(*) from orders where points is null"),
        "1"
    );
    assert_eq!(
        shop.sql("select max(version), count(*) from schema_versions")
            .replace('|', " "),
        "40 1"
    );
}

on_both!(
    a_number_in_the_middle_of_a_name_skips_no_later_step,
    a_lower_number_after_a_higher_one_runs,
    an_applications_own_table_of_versions_is_left_alone,
);
