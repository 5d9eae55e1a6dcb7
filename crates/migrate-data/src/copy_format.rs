//! PostgreSQL's binary COPY format, as far as a copy needs it. Pure: cells to bytes and back.
//!
//! <https://www.postgresql.org/docs/current/sql-copy.html> describes the format.

mod open;
mod pack;
pub(crate) mod split;

pub(crate) use open::Opened;
pub(crate) use pack::Packer;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Flags and the length of the header's extension, both zero.
const HEADER_REST: usize = 8;
/// What is left of the bytes of a COPY.
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
    use super::split::{Split, Splitter};
    use super::*;
    use crate::transform::Cell;
    use crate::wire::Wire;

    fn encode(rows: &[Vec<Cell>], columns: &[(String, Wire)]) -> Result<Vec<u8>, String> {
        let mut packer = Packer::new(columns, Vec::new());
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
                    let (batch, rows) = splitter.take(Vec::new());
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
            found.extend(decode(&splitter.take(Vec::new()).0, &wires).unwrap());
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
