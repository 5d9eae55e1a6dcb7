//! Cells to bytes.

use super::{HEADER_REST, SIGNATURE};
use crate::buffers::add;
use crate::calendar;
use crate::transform::Cell;
use crate::wire::Wire;

/// Packs rows one by one into a whole COPY.
pub(crate) struct Packer<'a> {
    out: Vec<u8>,
    columns: &'a [(String, Wire)],
}

impl<'a> Packer<'a> {
    /// Begins one in an empty buffer.
    pub(crate) fn new(columns: &'a [(String, Wire)], mut out: Vec<u8>) -> Self {
        out.extend_from_slice(SIGNATURE);
        out.extend_from_slice(&[0; HEADER_REST]);
        Self { out, columns }
    }

    /// Adds a row, or says why it does not fit, without its values.
    pub(crate) fn row(&mut self, cells: &[Cell]) -> Result<(), String> {
        let count = i16::try_from(self.columns.len()).unwrap_or(i16::MAX);
        // Room for what is short in a row.
        add(&mut self.out, &[]);
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
        Wire::Instant | Wire::InstantUtc | Wire::Local | Wire::Day => {
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
        (Cell::Timestamp(text), Wire::Instant | Wire::InstantUtc | Wire::Local)
        | (Cell::Text(text), Wire::Local) => calendar::read(text),
        (Cell::Text(text), Wire::Instant | Wire::InstantUtc) => match calendar::at_utc(text) {
            Some(moment) => calendar::read(moment),
            None if wire == Wire::InstantUtc => calendar::read(text),
            None => None,
        },
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
    add(out, bytes);
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
