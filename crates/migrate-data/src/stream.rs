//! A range of a PostgreSQL source as one COPY, cut into batches as its rows arrive: no query has to
//! look for the end of a batch, and what is not taken yet waits in the server.

use futures_util::{Stream, TryStreamExt as _};
use migrate_schema::db::{Database, DbError, DbErrorKind};
use sqlx::PgConnection;

use crate::buffers::Buffers;
use crate::cells::{Passing, SourceColumn};
use crate::copy_format::Opened;
use crate::copy_format::split::{Split, Splitter};
use crate::keyset::{Key, KeyPart, KeyRange};
use crate::planner::Cut;
use crate::range::{Program, RangeWriter};
use crate::transform::Cell;
use crate::wire::Wire;

/// Whether the source's rows can be had in the order of their keys, with keys that can be read
/// off them.
pub(crate) fn streams(writer: &RangeWriter) -> bool {
    matches!(writer.program, Program::Rust(_))
        && matches!(writer.source(), Database::Postgres(_))
        && !writer.layout.by_place
        && places(writer).is_some()
}

/// Where the key's columns are among the source's; none where one has a type whose text would
/// depend on settings.
fn places(writer: &RangeWriter) -> Option<Vec<usize>> {
    let plain = |column: &SourceColumn| {
        matches!(
            Wire::opened(&column.type_name),
            Wire::Int2 | Wire::Int4 | Wire::Int8 | Wire::Text
        ) || column.type_name == "uuid"
    };
    let place = |name: &String| {
        let columns = &writer.source_columns;
        let at = columns.iter().position(|column| &column.name == name)?;
        plain(&columns[at]).then_some(at)
    };
    writer.layout.key.iter().map(place).collect()
}

/// A connection of its own, so that no writer waits for one that a reader keeps.
pub(crate) struct Reader(PgConnection);

impl Reader {
    pub(crate) async fn open(source: &Database) -> Result<Self, DbError> {
        let Database::Postgres(source) = source else {
            return Err(DbError::new(DbErrorKind::Other, "only PostgreSQL streams"));
        };
        let mut connection = source.connect_beside().await?;
        sqlx::raw_sql(
            "SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; \
             SET bytea_output = 'hex'; SET extra_float_digits = 1",
        )
        .execute(&mut connection)
        .await?;
        source.as_the_user_after_ours(&mut connection).await?;
        Ok(Self(connection))
    }

    /// Begins to read a range. A reader whose batches were not read to the end can't be used again.
    pub(crate) async fn batches(
        &mut self,
        writer: &RangeWriter,
        range: KeyRange,
    ) -> Result<
        Batches<impl Stream<Item = Result<impl AsRef<[u8]> + use<>, sqlx::Error>> + Unpin>,
        DbError,
    > {
        let sql = writer.source_sql();
        let rows = sql.source_rows(&writer.source_columns, &range);
        let order = writer.layout.keys(sql.backend).list_of("src");
        let copy = format!("COPY ({rows} ORDER BY {order}) TO STDOUT (FORMAT binary)");
        let opened = |column: &SourceColumn| Wire::opened(&column.type_name);
        Ok(Batches {
            stream: self.0.copy_out_raw(&copy).await?,
            splitter: Splitter::default(),
            wires: writer.source_columns.iter().map(opened).collect(),
            places: places(writer).unwrap_or_default(),
            after: range.after,
            buffers: writer.buffers.clone(),
        })
    }
}

/// The batches of a range, in order.
pub(crate) struct Batches<S> {
    stream: S,
    splitter: Splitter,
    wires: Vec<Wire>,
    places: Vec<usize>,
    after: Option<Key>,
    buffers: Buffers,
}

impl<S, B> Batches<S>
where
    S: Stream<Item = Result<B, sqlx::Error>> + Unpin,
    B: AsRef<[u8]>,
{
    /// The next rows: so many at most, and none after so many bytes; nothing after the last.
    pub(crate) async fn next(
        &mut self,
        rows: u64,
        bytes: u64,
    ) -> Result<Option<(Cut, Passing)>, DbError> {
        let broken = |why| DbError::new(DbErrorKind::Other, why);
        let full = |splitter: &Splitter| splitter.rows() >= rows || splitter.bytes() >= bytes;
        while !full(&self.splitter) {
            match self.splitter.step().map_err(broken)? {
                Split::Row => {}
                Split::End => {
                    // To the very end, so that the connection is free again.
                    while self.stream.try_next().await?.is_some() {}
                    break;
                }
                Split::More => match self.stream.try_next().await? {
                    Some(part) => self.splitter.push(part.as_ref()),
                    None => return Err(broken("a binary COPY ends too early".to_owned())),
                },
            }
        }
        if self.splitter.rows() == 0 {
            return Ok(None);
        }
        let upto = self.last_key().map_err(broken)?;
        let after = self.after.replace(upto.clone());
        let (read, rows) = self.splitter.take(self.buffers.to_read());
        let range = KeyRange {
            after,
            upto: Some(upto),
            except: Vec::new(),
        };
        Ok(Some((Cut { range, rows }, Passing::Copy(read))))
    }

    fn last_key(&self) -> Result<Key, String> {
        let mut row = Vec::new();
        Opened::row(self.splitter.last(), &self.wires).next(&mut row)?;
        let part = |at: &usize| match &row[*at] {
            Cell::Integer(number) => Ok(KeyPart::Integer(*number)),
            Cell::Text(text) => Ok(KeyPart::Text(text.clone())),
            _ => Err("a key holds NULL".to_owned()),
        };
        Ok(Key(self
            .places
            .iter()
            .map(part)
            .collect::<Result<_, String>>()?))
    }
}
