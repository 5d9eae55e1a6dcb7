//! The same two migrations as each tool writes them.

use migrate_tests::deployment::Store;

use super::world::World;
use crate::on_both;

const UP_1: &str = "create table t (a integer);\n";
const UP_2: &str = "create table u (a integer);\n";
const DOWN_1: &str = "drop table t;\n";
const DOWN_2: &str = "drop table u;\n";

fn every_layout_goes_up_and_down_unchanged(store: Store) {
    let goose = |up: &str, down: &str| format!("-- +goose Up\n{up}\n-- +goose Down\n{down}");
    let dbmate = |up: &str, down: &str| format!("-- migrate:up\n{up}\n-- migrate:down\n{down}");
    let layouts: Vec<(&str, Vec<(&str, String)>)> = vec![
        (
            "ours",
            vec![
                ("1_t.sql", UP_1.into()),
                ("1_t.down.sql", DOWN_1.into()),
                ("2_u.sql", UP_2.into()),
                ("2_u.down.sql", DOWN_2.into()),
            ],
        ),
        (
            "sqlx",
            vec![
                ("1_t.up.sql", UP_1.into()),
                ("1_t.down.sql", DOWN_1.into()),
                ("2_u.up.sql", UP_2.into()),
                ("2_u.down.sql", DOWN_2.into()),
            ],
        ),
        (
            "diesel",
            vec![
                ("2024-01-01-000000_t/up.sql", UP_1.into()),
                ("2024-01-01-000000_t/down.sql", DOWN_1.into()),
                ("2024-01-02-000000_u/up.sql", UP_2.into()),
                ("2024-01-02-000000_u/down.sql", DOWN_2.into()),
            ],
        ),
        (
            "goose",
            vec![
                ("001_t.sql", goose(UP_1, DOWN_1)),
                ("002_u.sql", goose(UP_2, DOWN_2)),
            ],
        ),
        (
            "dbmate",
            vec![
                ("20240101_t.sql", dbmate(UP_1, DOWN_1)),
                ("20240102_u.sql", dbmate(UP_2, DOWN_2)),
            ],
        ),
        (
            "golang-migrate",
            vec![
                ("000001_t.up.sql", format!("BEGIN;\n{UP_1}COMMIT;\n")),
                ("000001_t.down.sql", DOWN_1.into()),
                ("000002_u.up.sql", UP_2.into()),
                ("000002_u.down.sql", DOWN_2.into()),
            ],
        ),
        (
            "flyway",
            vec![
                ("V1__t.sql", UP_1.into()),
                ("U1__t.sql", DOWN_1.into()),
                ("V1_1__u.sql", UP_2.into()),
                ("U1.1__u.sql", DOWN_2.into()),
            ],
        ),
    ];
    for (layout, files) in layouts {
        let world = World::on(store);
        for (name, text) in &files {
            world.write(name, text);
        }
        let empty = world.snapshot();
        let layout = ["--layout", layout];
        let with = |arguments: &[&str]| {
            let all: Vec<&str> = arguments.iter().chain(&layout).copied().collect();
            world.run(&all)
        };
        with(&["apply"])
            .expect(0)
            .says(&["2 applied in one transaction"]);
        world.sql("insert into t values (1); insert into u values (1)");
        with(&["down", "--all", "--yes"]).expect(0);
        assert_eq!(world.snapshot(), empty, "{layout:?}");
    }
}

fn a_folder_that_can_be_read_in_two_ways_is_refused(store: Store) {
    let world = World::on(store).files(&[("V1__t.sql", UP_1), ("U1__t.sql", DOWN_1)]);
    world.run(&["apply"]).expect(1).says(&[
        "as flyway and as refinery",
        "--layout flyway or --layout refinery",
    ]);
    world.run(&["apply", "--layout", "flyway"]).expect(0);
}

fn what_can_not_run_is_told_before_anything_runs(store: Store) {
    let world = World::on(store).files(&[
        ("1_t.sql", UP_1),
        ("2_u.sql", "create table u (a integer);\nselect 'open"),
        ("3_v.sql", "rollback;"),
    ]);
    let empty = world.snapshot();
    world
        .run(&["apply"])
        .expect(1)
        .says(&["2_u.sql:2:8", "3_v.sql:1:1", "nothing was changed"]);
    assert_eq!(world.snapshot(), empty);
}

on_both!(
    every_layout_goes_up_and_down_unchanged,
    a_folder_that_can_be_read_in_two_ways_is_refused,
    what_can_not_run_is_told_before_anything_runs,
);
