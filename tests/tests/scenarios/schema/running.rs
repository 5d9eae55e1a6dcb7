//! Apply, look, take back, do again.

use migrate_tests::deployment::Store;

use super::world::World;
use crate::on_both;

const USERS: (&str, &str) = (
    "001_users.sql",
    "create table users (id integer primary key, name text not null);\n",
);
const USERS_DOWN: (&str, &str) = ("001_users.down.sql", "drop table users;\n");
const MAILS: (&str, &str) = (
    "002_mails.sql",
    "create table mails (id integer primary key, user_id integer references users (id));\n\
     create index mails_user on mails (user_id);\n",
);
const MAILS_DOWN: (&str, &str) = ("002_mails.down.sql", "drop table mails;\n");

fn everything_pending_is_one_transaction_and_then_nothing_is(store: Store) {
    let world = World::on(store).files(&[USERS, MAILS]);
    assert_eq!(
        world.states(&[]),
        ["001_users.sql pending", "002_mails.sql pending"]
    );
    world
        .run(&["apply"])
        .expect(0)
        .says(&["2 applied in one transaction"]);
    assert_eq!(
        world.states(&[]),
        ["001_users.sql applied", "002_mails.sql applied"]
    );
    world.run(&["apply"]).expect(0).says(&["nothing to do"]);
    world.sql("insert into users values (1, 'a'); insert into mails values (1, 1)");
}

fn a_failure_leaves_nothing_and_names_file_line_and_column(store: Store) {
    let world = World::on(store).files(&[USERS, MAILS]);
    let before = world.snapshot();
    world.write(
        "003_wrong.sql",
        "create table fine (a integer);\n\ninsert into\n  nowhere values (1);\n",
    );
    let run = world.run(&["apply"]);
    run.expect(3).says(&[
        "003_wrong.sql:",
        "statement 2 of 2",
        "nowhere",
        "nothing was changed",
    ]);
    assert_eq!(world.snapshot(), before);
    world
        .run(&["apply", "--each"])
        .expect(4)
        .says(&["2 migrations are committed"]);
    assert_eq!(
        world.states(&[])[..2],
        ["001_users.sql applied", "002_mails.sql applied"]
    );
    world.write("003_wrong.sql", "create table fine (a integer);\n");
    world.run(&["apply"]).expect(0).says(&["1 applied"]);
}

fn a_plan_is_the_sql_that_runs_and_writes_nothing(store: Store) {
    let world = World::on(store).files(&[USERS, MAILS]);
    let before = world.snapshot();
    let plan = world.run(&["plan", "--to", "1"]);
    plan.expect(0);
    assert_eq!(
        plan.stdout,
        "BEGIN;\n-- 001 users (001_users.sql)\n\
         create table users (id integer primary key, name text not null);\nCOMMIT;\n"
    );
    assert_eq!(world.snapshot(), before);
    // What was printed is what runs: the database's own command line takes it.
    world.sql(&world.run(&["plan"]).stdout);
    let by_hand = world.snapshot();
    world.sql("drop table mails; drop table users");
    world.run(&["apply"]).expect(0);
    assert_eq!(world.snapshot(), by_hand);
}

fn down_takes_back_and_redo_does_again(store: Store) {
    let world = World::on(store).files(&[USERS, USERS_DOWN, MAILS, MAILS_DOWN]);
    let empty = world.snapshot();
    world.run(&["apply"]).expect(0);
    let full = world.snapshot();
    // Rows can be lost: without a terminal it refuses and names the flag.
    world.run(&["down"]).expect(7).says(&["--yes"]);
    world.run(&["down", "--yes"]).expect(0);
    assert_eq!(
        world.states(&[]),
        ["001_users.sql applied", "002_mails.sql pending"]
    );
    world.run(&["apply"]).expect(0);
    world
        .run(&["redo", "--yes"])
        .expect(0)
        .says(&["1 taken back and run again in one transaction"]);
    assert_eq!(world.snapshot(), full);
    world.run(&["down", "--all", "--yes"]).expect(0);
    assert_eq!(world.snapshot(), empty);
    world.run(&["apply", "--to", "1"]).expect(0);
    assert_eq!(
        world.states(&[]),
        ["001_users.sql applied", "002_mails.sql pending"]
    );
}

fn one_without_a_down_is_refused_before_anything_runs(store: Store) {
    let world = World::on(store).files(&[USERS, MAILS, MAILS_DOWN]);
    world.run(&["apply"]).expect(0);
    let full = world.snapshot();
    world
        .run(&["down", "--all", "--yes"])
        .expect(1)
        .says(&["001 users has nothing that takes it back"]);
    assert_eq!(world.snapshot(), full);
}

fn a_down_whose_file_is_gone_is_taken_from_the_history(store: Store) {
    let world = World::on(store).files(&[USERS, MAILS, MAILS_DOWN]);
    world.run(&["apply"]).expect(0);
    world.remove(MAILS_DOWN.0);
    world.run(&["down", "--yes"]).expect(0);
    assert!(!world.snapshot().contains("mails"));
}

fn repeatable_scripts_run_when_their_text_changes(store: Store) {
    let world = World::on(store).files(&[
        ("V1__t.sql", "create table t (a integer);"),
        (
            "R__v.sql",
            "drop view if exists v;\ncreate view v as select a as ${column} from t;",
        ),
    ]);
    world
        .run(&["apply", "--layout", "flyway"])
        .expect(1)
        .says(&["R__v.sql:2:30", "--set column=VALUE"]);
    let set = ["apply", "--layout", "flyway", "--set", "column=first"];
    world.run(&set).expect(0).says(&["2 applied"]);
    world.run(&set).expect(0).says(&["nothing to do"]);
    world.write(
        "R__v.sql",
        "drop view if exists v;\ncreate view v as select a as second from t;",
    );
    world.run(&set).expect(0).says(&["1 applied"]);
    world.sql("select second from v");
}

fn a_verify_script_takes_the_whole_transaction_back(store: Store) {
    let world = World::on(store).files(&[
        USERS,
        ("001_users.verify.sql", "select count(*) = 1 from users;"),
    ]);
    let empty = world.snapshot();
    world
        .run(&["apply"])
        .expect(3)
        .says(&["001_users.verify.sql:1:1", "false, null or zero"]);
    assert_eq!(world.snapshot(), empty);
    world.write("001_users.verify.sql", "select count(*) = 0 from users;");
    world.run(&["apply"]).expect(0);
}

fn ten_thousand_files_are_no_trouble(store: Store) {
    let world = World::on(store);
    for number in 1..=10_000 {
        world.write(
            &format!("{number:05}_x.sql"),
            if number == 1 {
                "create table t (a integer);"
            } else {
                "insert into t values (1);"
            },
        );
    }
    world
        .run(&["apply", "-q"])
        .expect(0)
        .says(&["10000 applied"]);
    assert_eq!(world.sql("select count(*) from t"), "9999");
    world.run(&["apply"]).expect(0).says(&["nothing to do"]);
}

on_both!(
    everything_pending_is_one_transaction_and_then_nothing_is,
    a_failure_leaves_nothing_and_names_file_line_and_column,
    a_plan_is_the_sql_that_runs_and_writes_nothing,
    down_takes_back_and_redo_does_again,
    one_without_a_down_is_refused_before_anything_runs,
    a_down_whose_file_is_gone_is_taken_from_the_history,
    repeatable_scripts_run_when_their_text_changes,
    a_verify_script_takes_the_whole_transaction_back,
    ten_thousand_files_are_no_trouble,
);
