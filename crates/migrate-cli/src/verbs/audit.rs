//! Whether the journal is what was written, and signing keys.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use migrate_core::Proof;
use migrate_rollback::journal::{AuditedRun, Copied};
use migrate_rollback::signing::state_key::Held;
use migrate_rollback::signing::{SigningKey, Trust};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::Global;
use crate::deployment::Deployment;
use crate::exit;
use crate::failure::Failure;
use crate::report::Output;
use crate::verbs::{adopt, next};
use crate::wire::{self, Wired};

/// What is audited.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Check the journal's chain of hashes and signatures, and compare it with the database's copy.
    Verify(VerifyArgs),
    /// Make an Ed25519 key that plans are signed with: FILE, and FILE.pub.
    Keygen {
        /// Where the private key goes; must not exist.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// Which run.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The run ID or a prefix of it; default: all runs.
    #[arg(value_name = "RUN")]
    run: Option<String>,
}

/// The document of `audit verify --format json`.
#[derive(Debug, Serialize)]
pub(crate) struct Audit {
    format: u32,
    /// Nothing differs.
    pub(crate) ok: bool,
    /// `here`, `beside_backups` or `nowhere`.
    key: &'static str,
    /// The public key that signs here.
    pub(crate) public_key: Option<String>,
    pub(crate) runs: Vec<AuditView>,
    /// What was not compared, and why.
    pub(crate) notes: Vec<String>,
}

/// One run.
#[derive(Debug, Serialize)]
pub(crate) struct AuditView {
    pub(crate) run: String,
    /// `signed`, `unchained`, `wrong`.
    pub(crate) state: &'static str,
    pub(crate) records: usize,
    /// The hash that names the log.
    pub(crate) head: Option<String>,
    /// The first record that is wrong, from 1; 0 is the head of the log.
    pub(crate) first_wrong: Option<usize>,
    pub(crate) problem: Option<String>,
    /// The database's copy: `same`, `behind`, `differs`, `none`, `only_there`, `not_compared`.
    pub(crate) copy: &'static str,
    /// A run that only the database knows and nothing proves: all that it would do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) would_run: Vec<String>,
}

/// `audit verify [RUN]`, `audit keygen -o FILE`.
pub(crate) async fn run(global: &Global, verb: &AuditVerb, output: &Output) -> Result<u8, Failure> {
    match verb {
        AuditVerb::Verify(args) => verify(global, args, output).await,
        AuditVerb::Keygen { output: path } => keygen(path, output),
    }
}

async fn verify(global: &Global, args: &VerifyArgs, output: &Output) -> Result<u8, Failure> {
    let deployment = Deployment::open(global)?;
    let trust = wire::trust(&deployment)?;
    let different = |failure: Failure| Failure {
        code: exit::DIFFERENT,
        ..failure
    };
    let own = wire::audited(&deployment).await.map_err(different)?;
    let mut audit = Audit {
        format: 1,
        ok: true,
        key: match trust.held() {
            Held::Here => "here",
            Held::BesideBackups => "beside_backups",
            Held::Nowhere => "nowhere",
        },
        public_key: trust.keys().first().map(ToString::to_string),
        runs: own.iter().flatten().map(view).collect(),
        notes: Vec::new(),
    };
    if own.is_none() {
        audit
            .notes
            .push("this deployment has no journal".to_owned());
    }
    match copies(global).await {
        Ok((wired, copies)) => {
            compare(own.as_deref().unwrap_or_default(), &copies, &mut audit.runs);
            let only_there = copies.iter().filter(|copy| {
                let run = copy.run.log.header.run.as_str();
                own.iter().flatten().all(|own| own.run != run)
            });
            let views: Vec<AuditView> = only_there
                .map(|copy| of_copy(global, &wired, &trust, copy))
                .collect();
            audit.runs.extend(views);
        }
        Err(failure) => audit.notes.push(format!(
            "the database's copy was not compared: {}",
            failure.message
        )),
    }
    if let Some(name) = &args.run {
        audit
            .runs
            .retain(|view| view.run.starts_with(name.as_str()));
        if audit.runs.is_empty() {
            return Err(Failure::unchanged(format!("no run {name} is recorded"))
                .hint("`history` lists all runs"));
        }
    }
    audit.ok = audit.runs.iter().all(|view| view.problem.is_none());
    output.audit(&audit);
    Ok(if audit.ok {
        exit::DONE
    } else {
        exit::DIFFERENT
    })
}

async fn copies(global: &Global) -> Result<(Wired, Vec<Copied>), Failure> {
    let wired = Wired::open(global).await?;
    let copies = wired.runs_in_database().await?;
    Ok((wired, copies))
}

fn view(run: &AuditedRun) -> AuditView {
    let (state, first_wrong, problem) = match &run.proof {
        Ok(proof) => judged(proof),
        Err(error) => ("wrong", None, Some(error.to_string())),
    };
    AuditView {
        run: run.run.clone(),
        state,
        records: run.records,
        head: run.links.last().cloned(),
        first_wrong,
        problem,
        copy: "not_compared",
        would_run: Vec::new(),
    }
}

/// A log without a chain is none of a build that knows chains: reported, not held against it.
fn judged(proof: &Proof) -> (&'static str, Option<usize>, Option<String>) {
    match proof {
        Proof::Signed { .. } => ("signed", None, None),
        Proof::Unchained => ("unchained", None, None),
        Proof::Wrong { record, why } => ("wrong", Some(*record), Some(why.clone())),
    }
}

/// Holds the journal's chains against those of the database's copy.
fn compare(own: &[AuditedRun], copies: &[Copied], views: &mut [AuditView]) {
    for (run, view) in own.iter().zip(views) {
        let copy = copies
            .iter()
            .find(|copy| copy.run.log.header.run.as_str() == run.run);
        let Some(copy) = copy else {
            view.copy = "none";
            continue;
        };
        let same = run
            .links
            .iter()
            .zip(&copy.links)
            .take_while(|(a, b)| a == b);
        let same = same.count();
        let wrong = match &copy.run.proof {
            Proof::Wrong { record, why } => Some((*record, why.clone())),
            Proof::Unchained if !run.links.is_empty() => Some((0, copy.run.proof.to_string())),
            _ if same < copy.links.len() => {
                Some((same, format!("record {same} is another than the journal's")))
            }
            _ => None,
        };
        view.copy = match wrong {
            None if copy.links.len() < run.links.len() => "behind",
            None => "same",
            Some((record, why)) => {
                view.first_wrong = view.first_wrong.or(Some(record));
                let why = format!("the database's copy of the log differs: {why}");
                view.problem = Some(match view.problem.take() {
                    Some(problem) => format!("{problem}; {why}"),
                    None => why,
                });
                "differs"
            }
        };
    }
}

/// A run that only the database knows.
fn of_copy(global: &Global, wired: &Wired, trust: &Trust, copy: &Copied) -> AuditView {
    let log = &copy.run.log;
    let (state, first_wrong, wrong) = judged(&copy.run.proof);
    let proven = copy.run.proof.holds();
    let problem = (!proven).then(|| {
        let why = wrong.unwrap_or_else(|| copy.run.proof.to_string());
        let run = &log.header.run;
        let what_to_do = if trust.held() == Held::Here {
            adopt::what_to_do_about(run.as_str())
        } else {
            let found = adopt::blockers(global, wired, log);
            let blocked: Vec<String> = found.iter().map(adopt::in_one_line).collect();
            if blocked.is_empty() {
                let line = format!("resume --adopt --adopt-unverified {run}");
                format!("if it is yours: {}", next::line(global, &line))
            } else {
                format!("the run can't be recovered: {}", blocked.join("; "))
            }
        };
        format!("only the database knows it, and nothing proves it: {why}; {what_to_do}")
    });
    AuditView {
        run: log.header.run.to_string(),
        state,
        records: log.records.len(),
        head: copy.links.last().cloned(),
        first_wrong,
        problem,
        copy: "only_there",
        would_run: if proven {
            Vec::new()
        } else {
            adopt::in_full(wired, log)
        },
    }
}

fn keygen(path: &Path, output: &Output) -> Result<u8, Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::unchanged(format!("{}: {error}", path.display()));
    let (key, text) = SigningKey::generate().map_err(|error| failed(&error))?;
    let mut public = path.to_owned().into_os_string();
    public.push(".pub");
    let write = |path: &Path, text: &str, mode| {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write(path, &text, 0o600).map_err(|error| failed(&error))?;
    write(public.as_ref(), &key.public().to_pem(), 0o644).map_err(|error| failed(&error))?;
    let document: Value = json!({
        "private_key": path.display().to_string(),
        "public_key_file": PathBuf::from(&public).display().to_string(),
        "public_key": key.public().to_string(),
    });
    output.key_made(&document);
    Ok(exit::DONE)
}
