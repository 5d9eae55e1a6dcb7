//! Bytes to cells.

use super::Rest;
use crate::calendar;
use crate::transform::Cell;
use crate::wire::Wire;

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
        Wire::InstantUtc | Wire::Day | Wire::Uuid | Wire::Json | Wire::Jsonb | Wire::Sealed(_) => {
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
