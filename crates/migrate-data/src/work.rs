//! What is done to rows in this process: opened, transformed, packed. No I/O.

use std::sync::Arc;

use migrate_schema::db::Backend;

use crate::cells::{Passing, SourceColumn};
use crate::copy_format::{Wire, encode};
use crate::keyset::{Key, KeyPart};
use crate::layout::Layout;
use crate::range::{Program, RangeError};
use crate::transform::{Cell, RowTransform, SourceRow};

/// The work on one batch.
pub(crate) struct Work {
    pub(crate) program: Program,
    pub(crate) columns: Arc<Vec<SourceColumn>>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) target: Backend,
    /// How the produced columns cross into the target.
    pub(crate) outputs: Vec<(String, Wire)>,
}

impl Work {
    /// From what was read to what can be staged.
    pub(crate) fn done(&self, read: Passing) -> Result<Passing, RangeError> {
        let rows = match (&self.program, read) {
            // PostgreSQL to PostgreSQL: nothing needs to be opened.
            (Program::Sql(_), read @ Passing::Copy(_)) if self.target == Backend::Postgres => {
                return Ok(read);
            }
            (Program::Sql(_), read) => {
                let wires: Vec<Wire> = self.outputs.iter().map(|(_, wire)| *wire).collect();
                read.cells(&wires)?
            }
            (Program::Rust(transform), read) => {
                let wires: Vec<Wire> = self
                    .columns
                    .iter()
                    .map(|c| Wire::of(&c.type_name))
                    .collect();
                let rows = read.cells(&wires)?;
                transform_rows(&**transform, &self.columns, &self.layout, &rows)?
            }
        };
        match self.target {
            Backend::Sqlite => Ok(Passing::Cells(rows)),
            Backend::Postgres => {
                encode(&rows, &self.outputs)
                    .map(Passing::Copy)
                    .map_err(|misfit| RangeError::Row {
                        key: self.key_of_output(&rows[misfit.row]),
                        reason: misfit.reason,
                    })
            }
        }
    }

    /// The key of a produced row: the source's, if the row has it.
    fn key_of_output(&self, row: &[Cell]) -> String {
        let names = &self.layout.outputs;
        let keys = if self.layout.key.iter().all(|name| names.contains(name)) {
            &self.layout.key
        } else {
            &self.layout.conflict
        };
        key_of(&SourceRow::new(names, row), keys)
    }
}

fn transform_rows(
    transform: &dyn RowTransform,
    columns: &[SourceColumn],
    layout: &Layout,
    rows: &[Vec<Cell>],
) -> Result<Vec<Vec<Cell>>, RangeError> {
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let expected = layout.outputs.len();
    let one = |cells: &Vec<Cell>| {
        let row = SourceRow::new(&names, cells);
        let made = transform.transform(&row).and_then(|made| {
            let enough = made.len() == expected;
            enough.then_some(made).ok_or_else(|| {
                "the transform gives another number of values than of columns".to_owned()
            })
        });
        made.map_err(|reason| RangeError::Row {
            key: key_of(&row, &layout.key),
            reason,
        })
    };
    rows.iter().map(one).collect()
}

fn key_of(row: &SourceRow<'_>, key: &[String]) -> String {
    let part = |name: &String| match row.get(name) {
        Ok(Cell::Integer(number)) => KeyPart::Integer(*number),
        Ok(Cell::Text(text) | Cell::Timestamp(text)) => KeyPart::Text(text.clone()),
        Ok(Cell::Real(number)) => KeyPart::Real {
            real: number.to_string(),
        },
        Ok(Cell::Bytes(bytes)) => KeyPart::Blob {
            blob: crate::hex::hex(bytes),
        },
        Ok(Cell::Bool(value)) => KeyPart::Text(value.to_string()),
        Ok(Cell::Null) | Err(_) => KeyPart::Text("?".to_owned()),
    };
    Key(key.iter().map(part).collect()).named(key)
}
