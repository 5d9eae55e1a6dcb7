//! A source in another database: a deployment that outgrew SQLite, and server to server; no
//! password shows.

use migrate_tests::copies;
use migrate_tests::deployment::{Deployment, Store};
use migrate_tests::postgres::{Server, TestDatabase};

const TARGET: &str =
    "CREATE TABLE dst (id integer PRIMARY KEY, v text NOT NULL CHECK (length(v) < 30), n integer)";

fn small() -> Deployment {
    let old = Deployment::v1().rows(1).on(Store::Sqlite);
    old.sql(
        "CREATE TABLE src (id integer PRIMARY KEY, v text, n text);
         INSERT INTO src WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT i, 'value ' || i, i FROM n",
    );
    old
}

fn grown() -> Deployment {
    let new = Deployment::v1().rows(1).on(Store::Postgres);
    new.sql(TARGET);
    new
}

fn arguments<'a>(
    verb: &'a str,
    source_url: &'a str,
    script: &'a str,
    more: &[&'a str],
) -> Vec<&'a str> {
    let mut all = copies::arguments(verb, script, &["--source-url", source_url]);
    all.extend(more);
    all
}

#[test]
fn a_table_of_sqlite_moves_to_postgres_and_is_compared_there() {
    let (old, new) = (small(), grown());
    new.write(
        "move.sql",
        "SELECT id, v, CAST(n AS integer) AS n FROM batch",
    );
    let script = new.path("move.sql").display().to_string();
    let url = format!("sqlite:{}", old.path("data/etlrs.db").display());
    new.run(&arguments(
        "migrate",
        &url,
        &script,
        &["--batch-size", "200"],
    ))
    .expect(0)
    .says(&["3000 rows read, 3000 inserted, 0 updated, 0 unchanged"]);
    assert_eq!(
        new.sql("SELECT count(*), sum(n), min(v) FROM dst").trim(),
        "3000|4501500|value 1"
    );
    new.run(&arguments("verify", &url, &script, &[]))
        .expect(0)
        .says(&["3000 rows compared, no difference"]);
    old.sql("UPDATE src SET v = 'other' WHERE id = 1234");
    new.run(&arguments("verify", &url, &script, &[]))
        .expect(8)
        .says(&["the row id=1234 of dst is different"]);
}

/// The script fails on one row in the source's database, the target refuses two others, and one
/// does not fit its type.
#[test]
fn rows_that_can_not_cross_fail_the_copy_or_are_kept_aside() {
    let (old, new) = (small(), grown());
    new.write(
        "move.sql",
        "SELECT id, v, CASE WHEN v LIKE '{%' THEN json(v) ELSE n END AS n FROM batch",
    );
    let script = new.path("move.sql").display().to_string();
    let url = format!("sqlite:{}", old.path("data/etlrs.db").display());
    old.sql(
        "UPDATE src SET v = '{topsecret' WHERE id = 5;
         UPDATE src SET v = NULL WHERE id = 1500;
         UPDATE src SET v = 'topsecret, and longer than thirty letters' WHERE id = 1501;
         UPDATE src SET n = 'topsecret' WHERE id = 2999",
    );
    let refused = new.run(&arguments("migrate", &url, &script, &[]));
    refused.expect(1).says(&[
        "the row id=5 of src can't be moved into dst",
        "1 row of src would have NULL in dst.v",
        "whether values fit the types and CHECKs of the other database",
        "nothing was changed",
    ]);
    assert!(!refused.output().contains("topsecret"), "{refused}");
    let late = ["--workers", "1", "--skip-check", "rows"];
    let failed = new.run(&arguments("migrate", &url, &script, &late));
    failed.expect(3).says(&[
        "the row id=5 of src can't be moved into dst",
        "malformed JSON",
    ]);
    assert!(!failed.output().contains("topsecret"), "{failed}");
    assert_eq!(new.sql("SELECT count(*) FROM dst").trim(), "0");
    for there in [0, 3] {
        new.sql(&format!(
            "TRUNCATE dst; INSERT INTO dst SELECT i, 'stale', 0 FROM generate_series(1, {there}) AS i"
        ));
        let policy = ["--batch-size", "500", "--bad-rows", "quarantine 4"];
        let moved = new.run(&arguments("migrate", &url, &script, &policy));
        moved.expect(0).says(&["3000 rows read", "4 in quarantine"]);
        assert!(!moved.output().contains("topsecret"), "{moved}");
        assert_eq!(
            new.sql("SELECT count(*), sum(n) FROM dst").trim(),
            "2996|4495495"
        );
        let listed = new.run(&["data", "rejects"]);
        listed.expect(0).says(&[
            "id=5: malformed JSON",
            "id=1500: ",
            "id=1501: ",
            "id=2999: ",
        ]);
        assert!(!listed.output().contains("topsecret"), "{listed}");
        new.run(&arguments("verify", &url, &script, &[]))
            .expect(0)
            .says(&["2996 rows compared, no difference", "4 rows in quarantine"]);
        new.run(&["data", "rejects", "--drop", "--yes"]).expect(0);
    }
}

#[test]
fn another_server_is_named_by_a_variable_and_its_password_never_shows() {
    let server = Server::start();
    let old = TestDatabase::create_on(&server);
    old.psql(
        "CREATE TABLE src (id bigint PRIMARY KEY, v text, n integer);
         INSERT INTO src SELECT i, 'value ' || i, i FROM generate_series(1, 3000) AS i",
    );
    let new = grown();
    new.write("move.sql", "SELECT id, v, n FROM batch");
    let script = new.path("move.sql").display().to_string();
    let url = old.url();
    let (front, _) = url.split_once('@').expect("a user and a password");
    let (_, password) = front.rsplit_once(':').expect("a password");
    let moved = new
        .tool(&arguments("migrate", "env:OLD_DATABASE", &script, &[]))
        .env("OLD_DATABASE", &url)
        .run();
    moved.expect(0).says(&["3000 rows read, 3000 inserted"]);
    assert!(!moved.output().contains(password), "{moved}");
    let wrong = new
        .tool(&arguments("verify", "env:OLD_DATABASE", &script, &[]))
        .env("OLD_DATABASE", url.replace(old.name(), "not_there"))
        .run();
    wrong.expect_one_of(&[1, 2, 4]);
    assert!(!wrong.output().contains(password), "{wrong}");
    new.run(&arguments("migrate", "env:NOT_SET", &script, &[]))
        .expect(2)
        .says(&["there is no variable NOT_SET"]);
    let unreadable = new.run(&arguments(
        "migrate",
        "postgres://u:hunter2-hidden@[bad/x",
        &script,
        &[],
    ));
    unreadable.expect(1);
    assert!(!unreadable.output().contains("hunter2"), "{unreadable}");
    assert_eq!(new.sql("SELECT count(*) FROM dst").trim(), "3000");
}

/// A plan stands in the journal and in the database: a password in it would too.
#[test]
fn a_plan_with_a_password_in_its_source_url_is_refused() {
    let deployment = Deployment::v1().on(Store::Sqlite);
    let shipped = include_str!("../../../migrations/plans/1.5.0_2.0.0.json");
    let plan = shipped.replace(
        "\"reverse_script\": \"reverse_pipelines.sql\"",
        "\"source_url\": \"postgres://u:hunter2-hidden@localhost/old\"",
    );
    deployment.write("migrations/plans/1.5.0_2.0.0.json", &plan);
    let before = deployment.snapshot();
    let run = deployment.migrate();
    run.expect_one_of(&[1, 2])
        .says(&["source_url holds a password", "env:NAME"]);
    assert!(!run.output().contains("hunter2"), "{run}");
    before.must_equal(&deployment.snapshot(), "refused");
}
