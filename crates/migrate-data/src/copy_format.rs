//! PostgreSQL's binary COPY format, as far as a copy needs it. Pure: cells to bytes and back.
//!
//! Numbers, booleans, bytes and text cross as themselves; every other type crosses as text and is
//! cast by the server, so that no type is left out.
//! <https://www.postgresql.org/docs/current/sql-copy.html> describes the format.

use crate::transform::Cell;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Flags and the length of the header's extension, both zero.
const HEADER_REST: usize = 8;

/// How a column crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Bytes,
    Text,
    /// Text that a type other than a text type is written as.
    Cast,
    /// A moment, which is text at UTC.
    Moment,
}

impl Wire {
    /// How a type crosses.
    pub(crate) fn of(type_name: &str) -> Self {
        match type_name {
            "boolean" => Self::Bool,
            "smallint" => Self::Int2,
            "integer" => Self::Int4,
            "bigint" => Self::Int8,
            "real" => Self::Float4,
            "double precision" => Self::Float8,
            "bytea" => Self::Bytes,
            "text" => Self::Text,
            kind if kind.starts_with("character varying") => Self::Text,
            kind if kind.starts_with("timestamp") && kind.ends_with("with time zone") => {
                Self::Moment
            }
            _ => Self::Cast,
        }
    }

    /// The type that holds it on the way.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Bytes => "bytea",
            Self::Text | Self::Cast | Self::Moment => "text",
        }
    }
}

/// A row that does not fit, by its place, and why; without its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) row: usize,
    pub(crate) reason: String,
}

/// Rows as a whole COPY, header and trailer included.
pub(crate) fn encode(rows: &[Vec<Cell>], columns: &[(String, Wire)]) -> Result<Vec<u8>, Misfit> {
    let mut out =
        Vec::with_capacity(SIGNATURE.len() + HEADER_REST + rows.len() * 16 * columns.len());
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[0; HEADER_REST]);
    let count = i16::try_from(columns.len()).unwrap_or(i16::MAX);
    for (at, row) in rows.iter().enumerate() {
        out.extend_from_slice(&count.to_be_bytes());
        for (cell, (name, wire)) in row.iter().zip(columns) {
            field(&mut out, cell, *wire).map_err(|why| Misfit {
                row: at,
                reason: format!("the value of {name} {why}"),
            })?;
        }
    }
    out.extend_from_slice(&(-1_i16).to_be_bytes());
    Ok(out)
}

fn field(out: &mut Vec<u8>, cell: &Cell, wire: Wire) -> Result<(), String> {
    if *cell == Cell::Null {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return Ok(());
    }
    let no = || format!("does not fit {}", wire.type_name());
    match wire {
        Wire::Bool => put(out, &[u8::from(truth(cell).ok_or_else(no)?)]),
        Wire::Int2 => {
            let number = whole(cell).and_then(|n| i16::try_from(n).ok());
            put(out, &number.ok_or_else(no)?.to_be_bytes())
        }
        Wire::Int4 => {
            let number = whole(cell).and_then(|n| i32::try_from(n).ok());
            put(out, &number.ok_or_else(no)?.to_be_bytes())
        }
        Wire::Int8 => put(out, &whole(cell).ok_or_else(no)?.to_be_bytes()),
        #[expect(clippy::cast_possible_truncation, reason = "the column holds no more")]
        Wire::Float4 => put(out, &(real(cell).ok_or_else(no)? as f32).to_be_bytes()),
        Wire::Float8 => put(out, &real(cell).ok_or_else(no)?.to_be_bytes()),
        Wire::Bytes => match cell {
            Cell::Bytes(bytes) => put(out, bytes),
            _ => Err(no()),
        },
        Wire::Text | Wire::Cast | Wire::Moment => text(out, cell, wire),
    }
}

fn text(out: &mut Vec<u8>, cell: &Cell, wire: Wire) -> Result<(), String> {
    match cell {
        Cell::Timestamp(text) if wire == Wire::Moment && !text.contains("infinity") => {
            match text.strip_suffix(" BC") {
                Some(before) => put(out, format!("{before}+00 BC").as_bytes()),
                None => put(out, format!("{text}+00").as_bytes()),
            }
        }
        Cell::Text(text) | Cell::Timestamp(text) => put(out, text.as_bytes()),
        Cell::Bool(value) => put(out, value.to_string().as_bytes()),
        Cell::Integer(value) => put(out, value.to_string().as_bytes()),
        Cell::Real(value) => put(out, value.to_string().as_bytes()),
        Cell::Bytes(bytes) => put(out, format!("\\x{}", crate::hex::hex(bytes)).as_bytes()),
        Cell::Null => Ok(()),
    }
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), String> {
    let length = i32::try_from(bytes.len()).map_err(|_| "is longer than 2 GiB".to_owned())?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn whole(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Integer(number) => Some(*number),
        Cell::Text(text) => text.trim().parse().ok(),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole, and far from the ends"
        )]
        Cell::Real(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(*number as i64),
        _ => None,
    }
}

fn real(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Real(number) => Some(*number),
        #[expect(clippy::cast_precision_loss, reason = "as SQL casts it")]
        Cell::Integer(number) => Some(*number as f64),
        Cell::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn truth(cell: &Cell) -> Option<bool> {
    match cell {
        Cell::Bool(value) => Some(*value),
        Cell::Integer(0) => Some(false),
        Cell::Integer(1) => Some(true),
        Cell::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
            "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// The rows of a whole COPY.
pub(crate) fn decode(bytes: &[u8], wires: &[Wire]) -> Result<Vec<Vec<Cell>>, String> {
    let mut rest = Rest(bytes);
    if rest.take(SIGNATURE.len())? != SIGNATURE {
        return Err("what the server sent does not begin as a binary COPY".to_owned());
    }
    rest.take(4)?;
    let extension = rest.number()?;
    rest.take(usize::try_from(extension).map_err(|error| error.to_string())?)?;
    let mut rows = Vec::new();
    loop {
        let count = i16::from_be_bytes(rest.array()?);
        if count == -1 {
            return Ok(rows);
        }
        if usize::try_from(count) != Ok(wires.len()) {
            return Err(format!(
                "a row has {count} fields instead of {}",
                wires.len()
            ));
        }
        let row = wires.iter().map(|wire| cell(&mut rest, *wire));
        rows.push(row.collect::<Result<_, _>>()?);
    }
}

fn cell(rest: &mut Rest<'_>, wire: Wire) -> Result<Cell, String> {
    let length = rest.number()?;
    if length == -1 {
        return Ok(Cell::Null);
    }
    let bytes = rest.take(usize::try_from(length).map_err(|error| error.to_string())?)?;
    let wrong = |_| format!("a value of type {} has {length} bytes", wire.type_name());
    Ok(match wire {
        Wire::Bool => Cell::Bool(bytes != [0]),
        Wire::Int2 => Cell::Integer(i16::from_be_bytes(bytes.try_into().map_err(wrong)?).into()),
        Wire::Int4 => Cell::Integer(i32::from_be_bytes(bytes.try_into().map_err(wrong)?).into()),
        Wire::Int8 => Cell::Integer(i64::from_be_bytes(bytes.try_into().map_err(wrong)?)),
        Wire::Float4 => Cell::Real(f32::from_be_bytes(bytes.try_into().map_err(wrong)?).into()),
        Wire::Float8 => Cell::Real(f64::from_be_bytes(bytes.try_into().map_err(wrong)?)),
        Wire::Bytes => Cell::Bytes(bytes.to_vec()),
        Wire::Text | Wire::Cast => Cell::Text(utf8(bytes)?),
        Wire::Moment => Cell::Timestamp(utf8(bytes)?),
    })
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or("a binary COPY ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("as many bytes as were taken"))
    }

    fn number(&mut self) -> Result<i32, String> {
        Ok(i32::from_be_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(wires: &[Wire]) -> Vec<(String, Wire)> {
        wires.iter().map(|wire| ("c".to_owned(), *wire)).collect()
    }

    #[test]
    fn rows_come_back_as_they_went() {
        let wires = [
            Wire::Bool,
            Wire::Int2,
            Wire::Int4,
            Wire::Int8,
            Wire::Float8,
            Wire::Bytes,
            Wire::Text,
            Wire::Cast,
        ];
        let rows = vec![
            vec![
                Cell::Bool(true),
                Cell::Integer(-7),
                Cell::Integer(i32::MAX.into()),
                Cell::Integer(i64::MIN),
                Cell::Real(-0.5),
                Cell::Bytes(vec![0, 255]),
                Cell::Text("é\n\\N".to_owned()),
                Cell::Text("{1,2}".to_owned()),
            ],
            vec![Cell::Null; 8],
        ];
        let bytes = encode(&rows, &columns(&wires)).unwrap();
        assert_eq!(decode(&bytes, &wires).unwrap(), rows);
        assert_eq!(
            decode(&encode(&[], &[]).unwrap(), &[]).unwrap(),
            Vec::<Vec<Cell>>::new()
        );
    }

    #[test]
    fn values_of_other_kinds_fit_where_sql_would_take_them() {
        for (cell, wire, fits) in [
            (Cell::Text(" 5 ".to_owned()), Wire::Int4, true),
            (Cell::Real(5.0), Wire::Int8, true),
            (Cell::Real(5.5), Wire::Int8, false),
            (Cell::Integer(70_000), Wire::Int2, false),
            (Cell::Integer(1), Wire::Bool, true),
            (Cell::Integer(2), Wire::Bool, false),
            (Cell::Text("off".to_owned()), Wire::Bool, true),
            (Cell::Integer(3), Wire::Float8, true),
            (Cell::Text("x".to_owned()), Wire::Bytes, false),
            (Cell::Bytes(vec![1]), Wire::Cast, true),
        ] {
            let encoded = encode(&[vec![cell.clone()]], &columns(&[wire]));
            assert_eq!(encoded.is_ok(), fits, "{cell:?} as {wire:?}");
            if let Err(misfit) = encoded {
                assert_eq!(misfit.row, 0);
                assert!(misfit.reason.starts_with("the value of c does not fit"));
            }
        }
    }

    #[test]
    fn moments_carry_their_zone_and_bytes_that_are_no_copy_are_refused() {
        let moment = Cell::Timestamp("2024-01-31 23:59:59.5".to_owned());
        let sent = encode(&[vec![moment]], &columns(&[Wire::Moment])).unwrap();
        let back = decode(&sent, &[Wire::Text]).unwrap();
        assert_eq!(
            back[0][0],
            Cell::Text("2024-01-31 23:59:59.5+00".to_owned())
        );
        for end in 0..sent.len() {
            assert!(decode(&sent[..end], &[Wire::Text]).is_err(), "{end}");
        }
        assert!(decode(&sent, &[Wire::Text, Wire::Text]).is_err());
    }
}
