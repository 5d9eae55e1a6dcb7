//! An ETLRS 1.5.0 deployment of one's own to see the tool work on.

mod database;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use migrate_schema::db::{ConnectOptions, CreateMode, Database, DatabaseUrl};

use crate::args::{DemoArgs, Global, RunArgs};
use crate::deployment::CONFIG_FILE;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;
use crate::verbs::migrate;

/// Says that a directory was made by a demo, so that the next one may make it anew.
const MARK: &str = ".etlrs-demo";
/// What a demo and the runs on it make below its directory.
const MADE: &[&str] = &[
    "config",
    "backups",
    ".etlrs-migrate",
    "etlrs.db",
    "etlrs.db-wal",
    "etlrs.db-shm",
    "etlrs.db-journal",
];

/// `demo`.
pub(crate) async fn run(global: &Global, args: &DemoArgs, output: &Output) -> Result<u8, Failure> {
    let dir = &args.dir;
    refuse_what_is_not_ours(dir)?;
    std::fs::create_dir_all(dir).map_err(|error| trouble(dir, &error))?;
    let (url, written) = urls(global, dir)?;
    let fresh_file = url.sqlite_path().is_some_and(|path| !path.exists());
    let options = ConnectOptions {
        create: CreateMode::Create,
        ..ConnectOptions::default()
    };
    let db = if global.database_url.is_some() {
        let db = connect(&url, &options).await?;
        database::refuse_what_is_not_ours(&db).await?;
        remake(dir)?;
        db
    } else {
        remake(dir)?;
        connect(&url, &options).await?
    };
    output.note(&format!(
        "making an ETLRS 1.5.0 deployment in {} with {} pipelines",
        dir.display(),
        args.rows
    ));
    let made = database::make(&db, args.rows).await;
    db.close().await;
    if made.is_err()
        && fresh_file
        && let Some(path) = url.sqlite_path()
    {
        // Nothing of a demo that could not be made stays behind.
        let _ = std::fs::remove_file(path);
    }
    made.map_err(|error| Failure::from(error.into_step_error("the demo's tables")))?;
    write_config(dir, &written)?;
    let here = Global {
        root: dir.clone(),
        database_url: None,
        config_url_only: true,
        env: None,
        environment: None,
        ..global.clone()
    };
    if !args.no_migrate {
        let forward = RunArgs {
            from: Some("1.5.0".to_owned()),
            to: Some("2.0.0".to_owned()),
            ..RunArgs::default()
        };
        migrate::run(&here, &forward, output).await?;
    }
    output.what_next(dir, args.no_migrate);
    Ok(exit::DONE)
}

async fn connect(url: &DatabaseUrl, options: &ConnectOptions) -> Result<Database, Failure> {
    Database::connect(url, options)
        .await
        .map_err(|error| Failure::from(error.into_step_error(format!("the database {url}"))))
}

/// The URL to connect to, and the one that the config file shall name. `$DATABASE_URL` is not looked at.
fn urls(global: &Global, dir: &Path) -> Result<(DatabaseUrl, String), Failure> {
    match &global.database_url {
        None => {
            let root = dir.canonicalize().map_err(|error| trouble(dir, &error))?;
            Ok((
                DatabaseUrl::sqlite(root.join("etlrs.db")),
                "sqlite:etlrs.db".to_owned(),
            ))
        }
        Some(text) => {
            let url: DatabaseUrl = text
                .parse()
                .map_err(|error| Failure::unchanged(format!("--database-url: {error}")))?;
            let here = std::env::current_dir()
                .map_err(|error| Failure::unchanged(format!("the current directory: {error}")))?;
            let url = url.resolve(&here);
            let written = url.secret().to_owned();
            Ok((url, written))
        }
    }
}

fn refuse_what_is_not_ours(dir: &Path) -> Result<(), Failure> {
    if !dir.exists() {
        return Ok(());
    }
    if !dir.is_dir() {
        return Err(Failure::unchanged(format!(
            "{} is not a directory",
            dir.display()
        )));
    }
    let mut entries = std::fs::read_dir(dir).map_err(|error| trouble(dir, &error))?;
    if dir.join(MARK).is_file() || entries.next().is_none() {
        return Ok(());
    }
    Err(Failure::unchanged(format!(
        "{} is not empty and was not made by a demo",
        dir.display()
    ))
    .hint("name an empty or new directory with --dir"))
}

fn remake(dir: &Path) -> Result<(), Failure> {
    for name in MADE {
        let path = dir.join(name);
        let removed = if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(trouble(&path, &error));
        }
    }
    let mark = "made by `etlrs-migrate demo`, which may delete and remake what it made here\n";
    std::fs::write(dir.join(MARK), mark).map_err(|error| trouble(dir, &error))
}

fn write_config(dir: &Path, url: &str) -> Result<(), Failure> {
    let path = dir.join(CONFIG_FILE);
    let folder = dir.join("config");
    std::fs::create_dir_all(&folder).map_err(|error| trouble(&folder, &error))?;
    let has_password = url
        .parse::<DatabaseUrl>()
        .is_ok_and(|url| url.password().is_some());
    let url = toml_edit::Value::from(url).to_string();
    let text = format!(
        "# ETLRS configuration\n\
         \n\
         # where pipelines are kept\n\
         database_url = {}\n\
         \n\
         # rows that a pipeline takes at once\n\
         batch_size = 1000\n\
         parallel_tasks = 4      # one a core\n\
         \n\
         log_level = \"info\"\n\
         \n\
         [custom]\n\
         team = \"data\"           # not a key of ETLRS: stays as it is\n",
        url.trim()
    );
    // A password in it is nobody else's to read.
    let mode = if has_password { 0o600 } else { 0o644 };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let written = options
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| trouble(&path, &error))
}

fn trouble(path: &Path, error: &std::io::Error) -> Failure {
    Failure::unchanged(format!("{}: {error}", path.display()))
}
