use super::{PASSWORD, ROLE, Server, TestDatabase, shared};

#[test]
fn a_database_of_its_own_is_there_and_goes_with_the_value() {
    let database = TestDatabase::create();
    let name = database.name().to_owned();
    database.psql("CREATE TABLE t (a integer); INSERT INTO t VALUES (2), (1)");
    assert_eq!(database.psql("SELECT a FROM t ORDER BY a"), "1\n2");
    assert_eq!(TestDatabase::create().psql("SELECT to_regclass('t')"), "");
    drop(database);
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(shared().admin_psql("postgres", &left), "0");
}

#[test]
fn the_role_is_no_superuser_and_may_create_databases() {
    let sql = format!("SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = '{ROLE}'");
    assert_eq!(shared().admin_psql("postgres", &sql), "f|t");
}

#[test]
fn a_wrong_password_over_tcp_is_refused() {
    let database = TestDatabase::create();
    let connect = |url: String| {
        super::client::quiet(shared().binaries(), "psql")
            .args(["-X", "-At", "-c", "SELECT 1", &url])
            .output()
            .unwrap()
    };
    let right = connect(database.url());
    assert_eq!(String::from_utf8_lossy(&right.stdout), "1\n");
    let wrong = connect(database.url().replace(PASSWORD, "wrong"));
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(said.contains("password authentication failed"), "{said}");
}

#[test]
fn equal_databases_have_equal_dumps_whatever_the_order_of_rows() {
    let (one, two) = (TestDatabase::create(), TestDatabase::create());
    one.psql("CREATE TABLE t (a text); INSERT INTO t VALUES ('x;\ny'), ('2')");
    two.psql("CREATE TABLE t (a text); INSERT INTO t VALUES ('2'), ('x;\ny')");
    assert_eq!(one.dump_sorted(), two.dump_sorted());
    two.psql("UPDATE t SET a = '3' WHERE a = '2'");
    assert_ne!(one.dump_sorted(), two.dump_sorted());
}

#[test]
fn a_crash_keeps_what_was_committed_and_the_directory_goes_at_the_end() {
    let server = Server::start();
    let directory = server.directory().to_owned();
    let database = TestDatabase::create_on(&server);
    database.psql("CREATE TABLE t (a integer); INSERT INTO t VALUES (7)");
    let before = server.pid();
    server.crash();
    assert_eq!(server.pid(), None);
    server.start_again();
    assert_ne!(server.pid(), before);
    assert_eq!(database.psql("SELECT a FROM t"), "7");
    drop(database);
    drop(server);
    assert!(!directory.exists());
}
