//! What a target refuses, as far as a query over what a script gives can tell.

use std::collections::BTreeMap;

use migrate_schema::catalog::{self, Column};
use migrate_schema::db::{Backend, Database, DbError};
use migrate_schema::quote::{TableName, ident, literal};

use super::{checks, fit};
use crate::access;
use crate::copy::TableCopy;
use crate::layout::Layout;

/// Something that the target refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) code: &'static str,
    /// SQL over the row `made`, true if it is refused.
    pub(super) refused: String,
    /// What the row does, after "3 rows of src".
    pub(super) what: String,
}

/// A unique key of the target that the script gives whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Twins {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
}

/// All that is asked of what a script gives.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) questions: Vec<Question>,
    pub(super) twins: Vec<Twins>,
    /// Columns that the script does not give and that stay empty, with their value as SQL.
    pub(super) absent: Vec<(String, String)>,
    /// What can't be asked, a line each.
    pub(super) overlooked: Vec<String>,
    /// Types of the given columns, where what is given is taken for what is stored.
    types: BTreeMap<String, String>,
    backend: Option<Backend>,
}

impl Rules {
    pub(super) async fn read(copy: &TableCopy, layout: &Layout) -> Result<Self, DbError> {
        let (db, target) = (&copy.db, &copy.target);
        let columns = catalog::table_columns(db, target).await?;
        let given = |column: &&Column| layout.outputs.contains(&column.name);
        let mut rules = Self::default();
        for column in columns.iter().filter(given).filter(|c| c.not_null) {
            let name = &column.name;
            let what = format!("would have NULL in {target}.{name}, which is NOT NULL");
            rules.ask("rows.null", format!("made.{} IS NULL", ident(name)), what);
        }
        rules.twins = unique(db, target).await?;
        rules.twins.retain(|twins| {
            twins
                .columns
                .iter()
                .all(|name| layout.outputs.contains(name))
        });
        if copy.elsewhere.is_some() {
            let what = "whether values fit the types and CHECKs of the other database";
            rules.overlooked.push(what.to_owned());
            return Ok(rules);
        }
        rules.backend = Some(db.backend());
        let strict = checks::is_strict(db, target).await?;
        for column in columns.iter().filter(given) {
            let key = layout.conflict == [column.name.clone()];
            let value = format!("made.{}", ident(&column.name));
            let whole = strict || key && column.type_name.eq_ignore_ascii_case("integer");
            let unfit = match db.backend() {
                Backend::Postgres => fit::too_long(&column.type_name, &value),
                Backend::Sqlite => fit::wrong_class(whole, strict, &column.type_name, &value),
            };
            if let Some(unfit) = unfit {
                let what = format!(
                    "would have a value in {target}.{} that {} can't hold",
                    column.name, column.type_name
                );
                rules.ask("rows.value", unfit, what);
            }
            rules
                .types
                .insert(column.name.clone(), column.type_name.clone());
        }
        rules.absent = columns
            .iter()
            .filter(|c| !given(c))
            .filter_map(empty(db.backend()))
            .collect();
        rules.add_checks(db, target, &columns, layout).await?;
        Ok(rules)
    }

    fn ask(&mut self, code: &'static str, refused: String, what: String) {
        self.questions.push(Question {
            code,
            refused,
            what,
        });
    }

    async fn add_checks(
        &mut self,
        db: &Database,
        target: &TableName,
        columns: &[Column],
        layout: &Layout,
    ) -> Result<(), DbError> {
        for check in checks::of(db, target, columns).await? {
            let known = |name: &String| {
                layout.outputs.contains(name)
                    || self.absent.iter().any(|(absent, _)| absent == name)
            };
            let refused = match &check.columns {
                Some(names) if names.iter().all(known) => check.refused(db.backend(), columns),
                _ => None,
            };
            match refused {
                Some(refused) => {
                    let what = format!("would break the CHECK {} of {target}", check.name);
                    self.ask("rows.check", refused, what);
                }
                None => self.overlooked.push(format!("the CHECK {}", check.name)),
            }
        }
        Ok(())
    }

    /// A given value as the target would hold it.
    pub(super) fn stored(&self, column: &str, value: &str) -> String {
        match (self.backend, self.types.get(column)) {
            (Some(Backend::Postgres), Some(kind)) => {
                format!("CAST({value} AS {})", fit::without_length(kind))
            }
            _ => value.to_owned(),
        }
    }

    /// A stored value that equals another one only if no collation tells them apart.
    pub(super) fn plainly(&self, column: &str, value: &str) -> String {
        let is_text = |kind: &String| kind == "text" || kind.starts_with("character");
        match (self.backend, self.types.get(column)) {
            (Some(Backend::Postgres), Some(kind)) if is_text(kind) => {
                format!("{value} COLLATE \"C\"")
            }
            (Some(Backend::Sqlite), _) => format!("{value} COLLATE BINARY"),
            _ => value.to_owned(),
        }
    }
}

/// A column that nothing fills.
fn empty(backend: Backend) -> impl Fn(&Column) -> Option<(String, String)> {
    move |column| {
        let filled = column.default.is_some() || column.generated || column.identity_always;
        let value = match backend {
            Backend::Postgres => format!("CAST(NULL AS {})", column.type_name),
            Backend::Sqlite => "NULL".to_owned(),
        };
        (!filled).then(|| (column.name.clone(), value))
    }
}

/// The unique keys of whole columns, nullable ones too.
async fn unique(db: &Database, table: &TableName) -> Result<Vec<Twins>, DbError> {
    let query = match db.backend() {
        Backend::Postgres => format!(
            "SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
             CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS p(at) \
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[p.at] \
             WHERE i.indrelid = pg_catalog.to_regclass({})::oid AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL \
             ORDER BY i.indisprimary DESC, c.relname, p.at",
            literal(&table.sql())
        ),
        Backend::Sqlite => format!(
            "SELECT coalesce(l.name, ''), i.name FROM pragma_index_list({table}) AS l JOIN pragma_index_info(l.name) AS i \
             WHERE l.\"unique\" = 1 AND l.partial = 0 AND NOT EXISTS \
             (SELECT 1 FROM pragma_index_info(l.name) AS x WHERE x.name IS NULL) ORDER BY l.seq, i.seqno",
            table = literal(table.table())
        ),
    };
    let mut found: Vec<Twins> = Vec::new();
    for row in access::rows(db, &query).await? {
        let mut values = row.into_iter().flatten();
        let (Some(name), Some(column)) = (values.next(), values.next()) else {
            continue;
        };
        match found.last_mut().filter(|last| last.name == name) {
            Some(last) => last.columns.push(column),
            None => found.push(Twins {
                name,
                columns: vec![column],
            }),
        }
    }
    // SQLite has no index for what its rowid is called.
    for key in catalog::unique_keys(db, table).await? {
        if !found.iter().any(|twins| twins.columns == key.columns) {
            found.push(Twins {
                name: key.name,
                columns: key.columns,
            });
        }
    }
    Ok(found)
}
