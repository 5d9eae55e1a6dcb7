//! What an intruder plants: functions, operators, types, casts and views with the names of everything
//! that the tool's SQL uses, and with arguments that fit better. Each one leaves a line in the
//! server's log, which no rollback takes back.

use std::collections::BTreeSet;
use std::path::Path;

use migrate_tests::deployment::Deployment;

/// A role without rights in the deployment's database, made by its superuser.
pub(crate) struct Intruder {
    role: String,
}

/// Every word of the tool's sources that may be the name of a function: it is followed by `(`.
fn called_words() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut words = BTreeSet::new();
    for place in ["crates", "migrations"] {
        read_words(&root.join(place), &mut words);
    }
    words
}

fn read_words(dir: &Path, words: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_words(&path, words);
        }
        let of_sql = path
            .extension()
            .is_some_and(|end| end == "rs" || end == "sql");
        if !of_sql {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut word = String::new();
        for letter in text.chars() {
            match letter {
                'a'..='z' | '0'..='9' | '_' => word.push(letter),
                '(' if word.len() > 1 => drop(words.insert(std::mem::take(&mut word))),
                _ => word.clear(),
            }
        }
    }
}

impl Intruder {
    pub(crate) fn enters(deployment: &Deployment) -> Self {
        let role = format!("intruder_{}", deployment.postgres().name());
        deployment
            .postgres()
            .admin_psql(&format!("CREATE ROLE {role} LOGIN"));
        Self { role }
    }

    pub(crate) fn role(&self) -> &str {
        &self.role
    }

    /// Runs SQL as this role.
    #[track_caller]
    pub(crate) fn psql(&self, deployment: &Deployment, sql: &str) -> String {
        let database = deployment.postgres();
        database.server().psql(&self.role, database.name(), sql)
    }

    /// Plants everything in a schema, in which the superuser lets it create.
    #[track_caller]
    pub(crate) fn plants(&self, deployment: &Deployment, schema: &str) {
        deployment.postgres().admin_psql(&format!(
            "CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {owner}; GRANT ALL ON SCHEMA {schema} TO {}; \
             GRANT USAGE ON SCHEMA {schema} TO PUBLIC",
            self.role,
            owner = migrate_tests::postgres::ROLE,
        ));
        let words: Vec<String> = called_words().into_iter().collect();
        let sql = include_str!("planted.sql")
            .replace("@schema@", schema)
            .replace("@words@", &words.join(","));
        self.psql(deployment, &sql);
    }
}

/// The lines of the server's log that planted code left in this database.
pub(crate) fn calls(deployment: &Deployment) -> Vec<String> {
    let database = deployment.postgres();
    let log = database.server().directory().join("log");
    let log = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
    let of_this = format!("ATTACK in {} ", database.name());
    let mut found: Vec<String> = log
        .lines()
        .filter_map(|line| line.split_once(&of_this).map(|(_, call)| call.to_owned()))
        .collect();
    found.sort();
    found.dedup();
    found
}
