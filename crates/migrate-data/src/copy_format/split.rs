//! One long COPY into many.

use crate::buffers::add;

use super::{HEADER_REST, Rest, SIGNATURE};

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
        add(&mut self.filled, row);
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

    /// What is filled in, as a whole COPY, and how many rows that is. What comes next is filled
    /// into `room`.
    pub(crate) fn take(&mut self, room: Vec<u8>) -> (Vec<u8>, u64) {
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
