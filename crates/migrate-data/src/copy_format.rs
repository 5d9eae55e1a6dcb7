//! PostgreSQL's binary COPY format, as far as a copy needs it. Pure: cells to bytes and back.
//!
//! <https://www.postgresql.org/docs/current/sql-copy.html> describes the format.

use crate::calendar;
use crate::transform::Cell;
use crate::wire::Wire;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Flags and the length of the header's extension, both zero.
const HEADER_REST: usize = 8;

/// Packs rows one by one into a whole COPY.
pub(crate) struct Packer<'a> {
    out: Vec<u8>,
    columns: &'a [(String, Wire)],
}

impl<'a> Packer<'a> {
    /// Begins one that will have about so many bytes.
    pub(crate) fn new(columns: &'a [(String, Wire)], bytes: usize) -> Self {
        let mut out = Vec::with_capacity(SIGNATURE.len() + HEADER_REST + bytes);
        out.extend_from_slice(SIGNATURE);
        out.extend_from_slice(&[0; HEADER_REST]);
        Self { out, columns }
    }

    /// Adds a row, or says why it does not fit, without its values.
    pub(crate) fn row(&mut self, cells: &[Cell]) -> Result<(), String> {
        let count = i16::try_from(self.columns.len()).unwrap_or(i16::MAX);
        self.out.extend_from_slice(&count.to_be_bytes());
        for (cell, (name, wire)) in cells.iter().zip(self.columns) {
            field(&mut self.out, cell, *wire)
                .map_err(|why| format!("the value of {name} {why}"))?;
        }
        Ok(())
    }

    /// The COPY, header and trailer included.
    pub(crate) fn packed(mut self) -> Vec<u8> {
        self.out.extend_from_slice(&(-1_i16).to_be_bytes());
        self.out
    }
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
        Wire::Instant | Wire::Local | Wire::Day => {
            let counted = counted(cell, wire).ok_or_else(no)?;
            match wire {
                Wire::Day => put(
                    out,
                    &i32::try_from(counted).map_err(|_| no())?.to_be_bytes(),
                ),
                _ => put(out, &counted.to_be_bytes()),
            }
        }
        Wire::Uuid => put(out, &uuid(cell).ok_or_else(no)?),
        Wire::Json | Wire::Jsonb => match (cell, wire) {
            (Cell::Text(text), Wire::Json) => put(out, text.as_bytes()),
            (Cell::Text(text), _) => put_after(out, &[1], text.as_bytes()),
            _ => Err(no()),
        },
        Wire::Sealed(_) => Err(no()),
    }
}

/// A moment or day as it is counted, where its text is the one that a database writes.
fn counted(cell: &Cell, wire: Wire) -> Option<i64> {
    match (cell, wire) {
        (Cell::Timestamp(text), Wire::Instant | Wire::Local) | (Cell::Text(text), Wire::Local) => {
            calendar::read(text)
        }
        (Cell::Text(text), Wire::Day) => calendar::read_day(text),
        _ => None,
    }
}

/// The bytes of `a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11`, in this form only.
fn uuid(cell: &Cell) -> Option<[u8; 16]> {
    let Cell::Text(text) = cell else {
        return None;
    };
    let mut bytes = [0; 16];
    let mut at = 0;
    if text.len() != 36 {
        return None;
    }
    for (place, c) in text.bytes().enumerate() {
        if matches!(place, 8 | 13 | 18 | 23) {
            if c != b'-' {
                return None;
            }
            continue;
        }
        let digit = char::from(c).to_digit(16)?;
        let byte: &mut u8 = &mut bytes[at / 2];
        *byte = *byte << 4 | u8::try_from(digit).ok()?;
        at += 1;
    }
    Some(bytes)
}

fn text(out: &mut Vec<u8>, cell: &Cell, wire: Wire) -> Result<(), String> {
    match cell {
        Cell::Timestamp(text) if wire == Wire::Moment && !text.contains("infinity") => {
            match text.strip_suffix(" BC") {
                Some(before) => put_after(out, before.as_bytes(), b"+00 BC"),
                None => put_after(out, text.as_bytes(), b"+00"),
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

fn put_after(out: &mut Vec<u8>, front: &[u8], bytes: &[u8]) -> Result<(), String> {
    let length =
        i32::try_from(front.len() + bytes.len()).map_err(|_| "is longer than 2 GiB".to_owned())?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(front);
    out.extend_from_slice(bytes);
    Ok(())
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), String> {
    put_after(out, &[], bytes)
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

/// The rows of a whole COPY, one after the other.
pub(crate) struct Opened<'a> {
    rest: Rest<'a>,
    wires: &'a [Wire],
}

impl<'a> Opened<'a> {
    /// Reads the header.
    pub(crate) fn new(bytes: &'a [u8], wires: &'a [Wire]) -> Result<Self, String> {
        let mut rest = Rest(bytes);
        rest.header()?;
        Ok(Self { rest, wires })
    }

    /// Rows without a header.
    pub(crate) fn row(bytes: &'a [u8], wires: &'a [Wire]) -> Self {
        Self {
            rest: Rest(bytes),
            wires,
        }
    }

    /// Puts the next row into `row`, whose room is used again; `false` after the last.
    pub(crate) fn next(&mut self, row: &mut Vec<Cell>) -> Result<bool, String> {
        let count = i16::from_be_bytes(self.rest.array()?);
        if count == -1 {
            return Ok(false);
        }
        if usize::try_from(count) != Ok(self.wires.len()) {
            return Err(format!(
                "a row has {count} fields instead of {}",
                self.wires.len()
            ));
        }
        row.resize(self.wires.len(), Cell::Null);
        for (place, wire) in row.iter_mut().zip(self.wires) {
            cell(&mut self.rest, *wire, place)?;
        }
        Ok(true)
    }
}

/// Cuts a COPY that arrives in parts of any size into COPYs of whole rows.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    /// What arrived, of which so many bytes are done with.
    arrived: Vec<u8>,
    done: usize,
    begun: bool,
    /// The COPY that is being filled.
    filled: Vec<u8>,
    /// Where its last row begins.
    last: usize,
    rows: u64,
}

/// What a step of a [`Splitter`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    /// Another row is filled in.
    Row,
    /// More has to arrive first.
    More,
    /// There was the last row.
    End,
}

impl Splitter {
    /// Takes what arrived.
    pub(crate) fn push(&mut self, part: &[u8]) {
        self.arrived.drain(..self.done);
        self.done = 0;
        self.arrived.extend_from_slice(part);
    }

    /// Moves a row, if there is a whole one.
    pub(crate) fn step(&mut self) -> Result<Split, String> {
        let mut rest = Rest(&self.arrived[self.done..]);
        if !self.begun {
            if rest.0.len() < SIGNATURE.len() + HEADER_REST {
                return Ok(Split::More);
            }
            rest.header()?;
            self.begun = true;
            self.done = self.arrived.len() - rest.0.len();
        }
        let Some(length) = row_length(&self.arrived[self.done..])? else {
            return Ok(Split::More);
        };
        let row = &self.arrived[self.done..self.done + length];
        if length == 2 && row == (-1_i16).to_be_bytes() {
            return Ok(Split::End);
        }
        if self.rows == 0 {
            self.filled.extend_from_slice(SIGNATURE);
            self.filled.extend_from_slice(&[0; HEADER_REST]);
        }
        self.last = self.filled.len();
        self.filled.extend_from_slice(row);
        self.rows += 1;
        self.done += length;
        Ok(Split::Row)
    }

    /// How many rows are filled in.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// How many bytes are.
    pub(crate) fn bytes(&self) -> u64 {
        self.filled.len() as u64
    }

    /// The last row alone.
    pub(crate) fn last(&self) -> &[u8] {
        &self.filled[self.last..]
    }

    /// What is filled in, as a whole COPY, and how many rows that is.
    pub(crate) fn take(&mut self) -> (Vec<u8>, u64) {
        let room = Vec::with_capacity(self.filled.len());
        let mut filled = std::mem::replace(&mut self.filled, room);
        filled.extend_from_slice(&(-1_i16).to_be_bytes());
        (filled, std::mem::take(&mut self.rows))
    }
}

/// How long the first row is, if it is there to its end.
fn row_length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some((count, mut rest)) = bytes.split_first_chunk() else {
        return Ok(None);
    };
    for _ in 0..i16::from_be_bytes(*count) {
        let Some((length, after)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*length).max(0);
        let length = usize::try_from(length).map_err(|error| error.to_string())?;
        let Some(after) = after.get(length..) else {
            return Ok(None);
        };
        rest = after;
    }
    Ok(Some(bytes.len() - rest.len()))
}

fn cell(rest: &mut Rest<'_>, wire: Wire, place: &mut Cell) -> Result<(), String> {
    let length = rest.number()?;
    if length == -1 {
        *place = Cell::Null;
        return Ok(());
    }
    let bytes = rest.take(usize::try_from(length).map_err(|error| error.to_string())?)?;
    let wrong = |_| format!("a value of type {} has {length} bytes", wire.type_name());
    *place = match wire {
        Wire::Bool => Cell::Bool(bytes != [0]),
        Wire::Int2 => Cell::Integer(i16::from_be_bytes(bytes.try_into().map_err(wrong)?).into()),
        Wire::Int4 => Cell::Integer(i32::from_be_bytes(bytes.try_into().map_err(wrong)?).into()),
        Wire::Int8 => Cell::Integer(i64::from_be_bytes(bytes.try_into().map_err(wrong)?)),
        Wire::Float4 => Cell::Real(f32::from_be_bytes(bytes.try_into().map_err(wrong)?).into()),
        Wire::Float8 => Cell::Real(f64::from_be_bytes(bytes.try_into().map_err(wrong)?)),
        Wire::Bytes => Cell::Bytes(bytes.to_vec()),
        Wire::Instant => {
            let mut text = room(place);
            calendar::write(
                i64::from_be_bytes(bytes.try_into().map_err(wrong)?),
                &mut text,
            );
            Cell::Timestamp(text)
        }
        Wire::Local => {
            let mut text = room(place);
            calendar::write(
                i64::from_be_bytes(bytes.try_into().map_err(wrong)?),
                &mut text,
            );
            Cell::Text(text)
        }
        Wire::Text | Wire::Cast | Wire::Moment => {
            let mut text = room(place);
            text.push_str(std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")?);
            if wire == Wire::Moment {
                Cell::Timestamp(text)
            } else {
                Cell::Text(text)
            }
        }
        Wire::Day | Wire::Uuid | Wire::Json | Wire::Jsonb | Wire::Sealed(_) => {
            return Err(format!("{} can't be opened here", wire.type_name()));
        }
    };
    Ok(())
}

/// The room of the text that was there, emptied.
fn room(place: &mut Cell) -> String {
    match std::mem::replace(place, Cell::Null) {
        Cell::Text(mut text) | Cell::Timestamp(mut text) => {
            text.clear();
            text
        }
        _ => String::new(),
    }
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

    fn header(&mut self) -> Result<(), String> {
        if self.take(SIGNATURE.len())? != SIGNATURE {
            return Err("what the server sent does not begin as a binary COPY".to_owned());
        }
        self.take(4)?;
        let extension = self.number()?;
        self.take(usize::try_from(extension).map_err(|error| error.to_string())?)?;
        Ok(())
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

    fn encode(rows: &[Vec<Cell>], columns: &[(String, Wire)]) -> Result<Vec<u8>, String> {
        let mut packer = Packer::new(columns, 0);
        rows.iter().try_for_each(|row| packer.row(row))?;
        Ok(packer.packed())
    }

    fn decode(bytes: &[u8], wires: &[Wire]) -> Result<Vec<Vec<Cell>>, String> {
        let mut opened = Opened::new(bytes, wires)?;
        let (mut row, mut rows) = (Vec::new(), Vec::new());
        while opened.next(&mut row)? {
            rows.push(row.clone());
        }
        Ok(rows)
    }

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
    fn a_copy_in_parts_of_any_size_becomes_copies_of_whole_rows() {
        let wires = [Wire::Int4, Wire::Text];
        let rows: Vec<Vec<Cell>> = (0..10)
            .map(|n: u8| vec![Cell::Integer(n.into()), Cell::Text("x".repeat(n.into()))])
            .collect();
        let whole = encode(&rows, &columns(&wires)).unwrap();
        for size in 1..=whole.len() {
            let (mut splitter, mut found) = (Splitter::default(), Vec::new());
            let mut parts = whole.chunks(size);
            let end = loop {
                if splitter.rows() == 3 {
                    let (batch, rows) = splitter.take();
                    let batch = decode(&batch, &wires).unwrap();
                    assert_eq!(batch.len() as u64, rows);
                    found.extend(batch);
                }
                match splitter.step().unwrap() {
                    Split::Row => {
                        let mut last = Vec::new();
                        assert!(
                            Opened::row(splitter.last(), &wires)
                                .next(&mut last)
                                .unwrap()
                        );
                        let before = usize::try_from(splitter.rows()).unwrap() - 1;
                        assert_eq!(last, rows[found.len() + before]);
                    }
                    Split::More => match parts.next() {
                        Some(part) => splitter.push(part),
                        None => break Split::More,
                    },
                    Split::End => break Split::End,
                }
            };
            assert_eq!(end, Split::End, "parts of {size} bytes");
            found.extend(decode(&splitter.take().0, &wires).unwrap());
            assert_eq!(found, rows, "parts of {size} bytes");
        }
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
            (Cell::Text("2024-02-29".to_owned()), Wire::Day, true),
            (Cell::Text("29.2.2024".to_owned()), Wire::Day, false),
            (Cell::Timestamp("infinity".to_owned()), Wire::Instant, false),
            (
                Cell::Text("2024-02-29 00:00:00".to_owned()),
                Wire::Instant,
                false,
            ),
            (
                Cell::Text("2024-02-29 00:00:00".to_owned()),
                Wire::Local,
                true,
            ),
            (Cell::Integer(1), Wire::Json, false),
            (
                Cell::Text("A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11".to_owned()),
                Wire::Uuid,
                true,
            ),
            (
                Cell::Text("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a}".to_owned()),
                Wire::Uuid,
                false,
            ),
        ] {
            let encoded = encode(&[vec![cell.clone()]], &columns(&[wire]));
            assert_eq!(encoded.is_ok(), fits, "{cell:?} as {wire:?}");
            if let Err(reason) = encoded {
                assert!(reason.starts_with("the value of c does not fit"));
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
