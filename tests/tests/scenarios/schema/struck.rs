//! Struck at every boundary that the trace of a clean run names, by SIGKILL of the tool, by a
//! crash of the server, by the end of its sessions, and in the middle of every statement that
//! waits: the next `apply` ends in the same catalog, rows and history, with no index half built.

use migrate_tests::binary::{Running, Tool};
use migrate_tests::deployment::Store;
use migrate_tests::postgres::Server;
use migrate_tests::sweep::place::{Place, of_trace};

use super::mixed;
use super::world::{Visitor, World, until};

/// So many runs stand at their places when the server crashes under all of them.
const AT_ONCE: usize = 12;

/// Where a run is struck.
#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Place(Place),
    /// In the middle of the statement that is begun at this place, while it waits for others.
    Waiting(Place),
}

/// A run that stands where it is to be struck.
struct Standing {
    run: Running,
    visitor: Option<Visitor>,
}

fn armed(world: &World<'_>) -> Tool {
    world.tool_of(migrate_tests::binary::failpoints(), &["apply"])
}

/// Everywhere: the places of a clean run, and each of them at which a statement begins that
/// can wait for others.
fn everywhere(store: Store) -> Vec<At> {
    let world = World::on(store).files(mixed::set(store));
    let trace = world.source().join("../trace");
    armed(&world)
        .env("ETLRS_FAILPOINT_TRACE", &trace)
        .run()
        .expect(0);
    let places = of_trace(&std::fs::read_to_string(trace).unwrap());
    for name in ["apply.ran", "apply.commit", "unit.ran", "alone.effect"] {
        assert!(places.iter().any(|one| one.name == name), "{name} is gone");
    }
    let begun = places.iter().filter(|one| one.name == "alone.begun");
    let alone = mixed::alone(store);
    assert_eq!(begun.clone().count(), alone.len(), "{alone:?}");
    let waiting: Vec<At> = begun
        .zip(alone)
        .filter(|(_, statement)| statement.contains("concurrently"))
        .map(|(place, _)| At::Waiting(place.clone()))
        .collect();
    places.into_iter().map(At::Place).chain(waiting).collect()
}

/// Brings a run to its place.
fn stand(world: &World<'_>, at: &At) -> Standing {
    let (At::Place(place) | At::Waiting(place)) = at;
    let order = format!("{}:stop:{}", place.name, place.nth);
    let mut run = armed(world).env("ETLRS_FAILPOINT", order).start();
    assert!(run.is_stopped(), "it never came to {at:?}");
    let mut visitor = None;
    if matches!(at, At::Waiting(_)) {
        let stays = "begin; insert into t values (-1); select from p; select from p1";
        visitor = Some(world.visitor(stays));
        run.signal("CONT");
        until("its statement waits for the visitor", || waits(world));
    }
    Standing { run, visitor }
}

fn waits(world: &World<'_>) -> bool {
    world.sql(
        "select count(*) from pg_stat_activity where datname = current_database() \
         and wait_event_type = 'Lock' and application_name like 'etlrs-migrate%'",
    ) != "0"
}

/// What can be seen of a database afterwards, but for times.
fn outcome(world: &World<'_>, store: Store) -> String {
    const HISTORY: &str = "select action, key, version, name, layout, file, checksum, up_text, \
         down_text, out_of_order, note from";
    let more = match store {
        Store::Postgres => format!(
            "{HISTORY} etlrs_migrate.schema_history order by seq;
             select 'begun', * from etlrs_migrate.schema_statements;
             select 'invalid', indexrelid::regclass from pg_index where not indisvalid"
        ),
        Store::Sqlite => format!(
            "{HISTORY} _etlrs_schema_history order by seq;
             select 'begun', * from _etlrs_schema_statements;"
        ),
    };
    format!("{}\n--\n{}", world.snapshot(), world.sql(&more))
}

/// What an undisturbed run comes to.
fn undisturbed(world: &World<'_>, store: Store) -> String {
    world.run(&["apply"]).expect(0);
    let seen = outcome(world, store);
    let (last, _) = mixed::set(store).last().unwrap();
    assert!(seen.contains(last), "{seen}");
    for left in ["begun|", "invalid|"] {
        assert!(!seen.contains(left), "{seen}");
    }
    seen
}

/// What was committed is told in order: applied, then at most one that is half done.
fn look(world: &World<'_>, what: &str) {
    let states = world.states(&[]);
    let how: Vec<&str> = states
        .iter()
        .filter_map(|state| state.split_once(' '))
        .map(|(_, how)| how)
        .skip_while(|how| *how == "applied")
        .collect();
    let rest = how.strip_prefix(&["half done"]).unwrap_or(&how);
    assert!(rest.iter().all(|how| *how == "pending"), "{what}: {how:?}");
}

/// Goes on after a strike, as a user does.
fn go_on(world: &World<'_>, store: Store, expected: &str, what: &str) {
    world.run(&["apply"]).expect(0);
    assert_eq!(outcome(world, store), expected, "{what}");
}

fn a_kill_anywhere(store: Store) {
    let expected = undisturbed(&World::on(store).files(mixed::set(store)), store);
    for at in everywhere(store) {
        let world = World::on(store).files(mixed::set(store));
        let Standing { run, visitor } = stand(&world, &at);
        run.kill();
        drop(visitor);
        let what = format!("killed at {at:?}");
        look(&world, &what);
        go_on(&world, store, &expected, &what);
    }
}

/// An administrator ends its sessions, the one that holds its lock too.
#[test]
fn the_end_of_its_sessions_anywhere_ends_in_the_same_place() {
    let store = Store::Postgres;
    let expected = undisturbed(&World::on(store).files(mixed::set(store)), store);
    for at in everywhere(store) {
        let world = World::on(store).files(mixed::set(store));
        let Standing { run, visitor } = stand(&world, &at);
        world.database().admin_psql(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity \
             where datname = current_database() and application_name like 'etlrs-migrate%'",
        );
        drop(visitor);
        run.signal("CONT");
        run.finish();
        let what = format!("sessions ended at {at:?}");
        go_on(&world, store, &expected, &what);
    }
}

#[test]
fn a_crash_of_the_server_anywhere_ends_in_the_same_place() {
    let store = Store::Postgres;
    let server = Server::start();
    let new = || World::on_server(&server).files(mixed::set(store));
    let expected = undisturbed(&new(), store);
    for some in everywhere(store).chunks(AT_ONCE) {
        let stood = some.iter().map(|at| {
            let world = new();
            let standing = stand(&world, at);
            (world, standing, at)
        });
        let stood: Vec<_> = stood.collect();
        server.crash();
        server.start_again();
        for (world, Standing { run, visitor }, at) in stood {
            drop(visitor);
            run.signal("CONT");
            run.finish();
            go_on(&world, store, &expected, &format!("crashed at {at:?}"));
        }
    }
}

#[test]
fn a_kill_anywhere_on_sqlite_ends_in_the_same_place() {
    a_kill_anywhere(Store::Sqlite);
}

#[test]
fn a_kill_anywhere_on_postgres_ends_in_the_same_place() {
    a_kill_anywhere(Store::Postgres);
}
