//! What is done to rows in this process: opened, transformed, packed. No I/O.

use std::sync::Arc;

use migrate_schema::db::{Backend, DbError, DbErrorKind};

use crate::buffers::Buffers;
use crate::cells::{Passing, SourceColumn};
use crate::copy_format::{Opened, Packer};
use crate::keyset::{Key, KeyPart};
use crate::layout::Layout;
use crate::lite_format::{Broken, Unpacked};
use crate::range::{Program, RangeError};
use crate::transform::{Cell, SourceRow};
use crate::wire::Wire;

/// How rows of this process come into the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Straight, which is for targets of PostgreSQL that were empty.
    Straight,
    /// By a table of the session's own.
    Staged,
}

/// Rows as the target takes them.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) rows: Passing,
    pub(crate) way: Way,
}

/// The work on one batch.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) program: Program,
    pub(crate) columns: Arc<Vec<SourceColumn>>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) target: Backend,
    /// How the produced columns cross straight into the target, if that is to be tried.
    pub(crate) straight: Option<Vec<(String, Wire)>>,
    /// How they cross otherwise.
    pub(crate) staged: Vec<(String, Wire)>,
    pub(crate) buffers: Buffers,
}

impl Work {
    /// The wanted way.
    fn way(&self) -> (Way, &[(String, Wire)]) {
        match &self.straight {
            Some(columns) => (Way::Straight, columns),
            None => (Way::Staged, &self.staged),
        }
    }

    /// How the columns of what is read cross.
    pub(crate) fn outputs(&self) -> &[(String, Wire)] {
        self.way().1
    }

    /// From what was read to what the target takes.
    pub(crate) fn done(&self, read: Passing) -> Result<Made, RangeError> {
        let (way, columns) = self.way();
        let rows = match (self.target, read) {
            // PostgreSQL to PostgreSQL: nothing needs to be opened.
            (Backend::Postgres, read @ Passing::Copy(_))
                if matches!(self.program, Program::Sql(_)) =>
            {
                read
            }
            (Backend::Postgres, read) => {
                let made = self.packed(&read);
                self.buffers.give(read.into_bytes());
                return made;
            }
            (Backend::Sqlite, read) => {
                let mut rows = Vec::new();
                self.each(&read, columns, |made| {
                    rows.push(made.to_vec());
                    Ok(())
                })?;
                Passing::Cells(rows)
            }
        };
        Ok(Made { rows, way })
    }

    /// Packed the wanted way, or staged where a value has no form that goes straight.
    fn packed(&self, read: &Passing) -> Result<Made, RangeError> {
        let pack = |columns: &[(String, Wire)]| {
            let mut packer = Packer::new(columns, self.buffers.to_make());
            self.each(read, columns, |made| {
                packer.row(made).map_err(|reason| RangeError::Row {
                    key: self.key_of_output(made),
                    reason,
                })
            })?;
            Ok(Passing::Copy(packer.packed()))
        };
        let (way, columns) = self.way();
        match pack(columns) {
            Err(RangeError::Row { .. }) if way == Way::Straight => Ok(Made {
                rows: pack(&self.staged)?,
                way: Way::Staged,
            }),
            rows => Ok(Made { rows: rows?, way }),
        }
    }

    /// Gives every produced row to `take`, one after the other.
    fn each(
        &self,
        read: &Passing,
        outputs: &[(String, Wire)],
        mut take: impl FnMut(&[Cell]) -> Result<(), RangeError>,
    ) -> Result<(), RangeError> {
        match &self.program {
            Program::Sql(_) => {
                let wires: Vec<Wire> = outputs.iter().map(|(_, wire)| *wire).collect();
                read.each(&wires, take)
            }
            Program::Rust(transform) => {
                let names: Vec<String> = self.columns.iter().map(|c| c.name.clone()).collect();
                let opened = |c: &SourceColumn| Wire::opened(&c.type_name);
                let wires: Vec<Wire> = self.columns.iter().map(opened).collect();
                read.each(&wires, |cells| {
                    let row = SourceRow::new(&names, cells);
                    let made = transform.transform(&row).and_then(|made| self.whole(made));
                    let made = made.map_err(|reason| RangeError::Row {
                        key: key_of(&row, &self.layout.key),
                        reason,
                    })?;
                    take(&made)
                })
            }
        }
    }

    fn whole(&self, made: Vec<Cell>) -> Result<Vec<Cell>, String> {
        let enough = made.len() == self.layout.outputs.len();
        enough.then_some(made).ok_or_else(|| {
            "the transform gives another number of values than of columns".to_owned()
        })
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

/// A text that is not UTF-8 is about its row, as a value that SQLite can't convert.
fn unreadable(why: Broken) -> RangeError {
    let mut error = DbError::new(DbErrorKind::Other, why.to_string());
    if why == Broken::Text {
        error.code = Some("SQLITE_MISMATCH".to_owned());
    }
    RangeError::Db(error)
}

impl Passing {
    /// The room of what came in one piece.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Cells(_) => Vec::new(),
            Self::Copy(bytes) | Self::Packed(bytes) => bytes,
        }
    }

    /// Gives every row to `take`, opened, one after the other.
    fn each(
        &self,
        wires: &[Wire],
        mut take: impl FnMut(&[Cell]) -> Result<(), RangeError>,
    ) -> Result<(), RangeError> {
        let broken = |why| RangeError::Db(DbError::new(DbErrorKind::Other, why));
        match self {
            Self::Cells(rows) => rows.iter().try_for_each(|row| take(row)),
            Self::Packed(bytes) => {
                let mut unpacked = Unpacked::new(bytes, wires.len());
                let mut row = Vec::with_capacity(wires.len());
                while unpacked.next(&mut row).map_err(unreadable)? {
                    take(&row)?;
                }
                Ok(())
            }
            Self::Copy(bytes) => {
                let mut opened = Opened::new(bytes, wires).map_err(broken)?;
                let mut row = Vec::with_capacity(wires.len());
                while opened.next(&mut row).map_err(broken)? {
                    take(&row)?;
                }
                Ok(())
            }
        }
    }
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
