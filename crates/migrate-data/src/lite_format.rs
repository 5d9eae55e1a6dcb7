//! Rows of SQLite as one text: as rows of a result, each value of them would be copied and handed
//! from thread to thread by itself, which costs more than reading them.
//!
//! NULL is `n`, a whole number `i12;`, a real number `r1.5;`, a text `t5:` with its bytes behind it,
//! and a blob `b5:` likewise.

use crate::transform::Cell;

/// The query that gives all rows of another query of so many columns as one value. Minus nought
/// becomes nought.
pub(crate) fn packed(query: &str, columns: usize) -> String {
    /// So many arguments of a function are fine with every build of SQLite.
    const TOGETHER: usize = 40;

    let names: Vec<String> = (0..columns).map(|at| format!("c{at}")).collect();
    let parts: Vec<String> = names
        .chunks(TOGETHER)
        .map(|names| {
            let values: Vec<String> = names.iter().map(|name| value(name)).collect();
            format!("concat({})", values.join(", "))
        })
        .collect();
    // LIMIT keeps SQLite from working a value out wherever it is named.
    format!(
        "WITH _etlrs_rows ({}) AS (SELECT * FROM ({query}) LIMIT -1) \
         SELECT CAST(group_concat({}, '') AS BLOB) FROM _etlrs_rows",
        names.join(", "),
        parts.join(" || "),
    )
}

/// Real numbers further from nought, or nearer to it, than those here SQLite writes so that it reads
/// them again itself; read rightly, the text can be the number beside. They stand as `x`.
fn value(name: &str) -> String {
    let is_near =
        format!("{name} = 0 OR {name} BETWEEN 1e-60 AND 1e100 OR {name} BETWEEN -1e100 AND -1e-60");
    format!(
        "CASE typeof({name}) WHEN 'text' THEN concat('t', octet_length({name}), ':') \
         WHEN 'blob' THEN concat('b', length({name}), ':') WHEN 'null' THEN 'n' WHEN 'real' THEN CASE WHEN {is_near} THEN 'r' ELSE 'x' END ELSE 'i' END, \
         CASE typeof({name}) WHEN 'blob' THEN CAST({name} AS TEXT) WHEN 'real' THEN concat(quote({name}), ';') \
         WHEN 'integer' THEN concat({name}, ';') ELSE {name} END"
    )
}

/// Whether every value of such a text is in it exactly.
pub(crate) fn is_exact(bytes: &[u8]) -> bool {
    let mut all = Unpacked::new(bytes, 1);
    while let Some((kind, rest)) = all.rest.split_first() {
        all.rest = rest;
        let passed = match kind {
            b'n' => Ok(()),
            b'i' | b'r' => all.upto(b';').map(drop),
            b't' | b'b' => all.bytes().map(drop),
            _ => return false,
        };
        if passed.is_err() {
            return false;
        }
    }
    true
}

/// The rows of such a text, one after the other.
pub(crate) struct Unpacked<'a> {
    rest: &'a [u8],
    columns: usize,
}

impl<'a> Unpacked<'a> {
    pub(crate) fn new(bytes: &'a [u8], columns: usize) -> Self {
        Self {
            rest: bytes,
            columns,
        }
    }

    /// Puts the next row into `row`, whose room is used again; `false` after the last.
    pub(crate) fn next(&mut self, row: &mut Vec<Cell>) -> Result<bool, Broken> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        row.resize(self.columns, Cell::Null);
        for place in row.iter_mut() {
            self.cell(place)?;
        }
        Ok(true)
    }

    fn cell(&mut self, place: &mut Cell) -> Result<(), Broken> {
        let (kind, rest) = self.rest.split_first().ok_or(Broken::Form)?;
        self.rest = rest;
        *place = match kind {
            b'n' => Cell::Null,
            b'i' => Cell::Integer(self.number(b';')?),
            b'r' => Cell::Real(self.number(b';')?),
            b't' => {
                let bytes = self.bytes()?;
                let text = std::str::from_utf8(bytes).map_err(|_| Broken::Text)?;
                let mut room = match std::mem::replace(place, Cell::Null) {
                    Cell::Text(room) => room,
                    _ => String::new(),
                };
                room.clear();
                room.push_str(text);
                Cell::Text(room)
            }
            b'b' => Cell::Bytes(self.bytes()?.to_vec()),
            _ => return Err(Broken::Form),
        };
        Ok(())
    }

    fn upto(&mut self, end: u8) -> Result<&'a [u8], Broken> {
        let at = self.rest.iter().position(|byte| *byte == end);
        let (text, rest) = self.rest.split_at(at.ok_or(Broken::Form)?);
        self.rest = &rest[1..];
        Ok(text)
    }

    fn number<N: std::str::FromStr>(&mut self, end: u8) -> Result<N, Broken> {
        let text = std::str::from_utf8(self.upto(end)?).map_err(|_| Broken::Form)?;
        text.parse().map_err(|_| Broken::Form)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Broken> {
        let length = self.number::<usize>(b':')?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Broken::Form)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// Why a text can't be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It has another form.
    Form,
    /// A text of a row is not UTF-8.
    Text,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Form => "rows of SQLite came in another form than they were asked for",
            Self::Text => "a text is not UTF-8",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(bytes: &[u8], columns: usize) -> Result<Vec<Vec<Cell>>, Broken> {
        let (mut rows, mut row) = (Vec::new(), Vec::new());
        let mut all = Unpacked::new(bytes, columns);
        while all.next(&mut row)? {
            rows.push(row.clone());
        }
        Ok(rows)
    }

    #[test]
    fn every_kind_of_value_is_told_apart_and_what_is_cut_off_is_refused() {
        let text = |text: &str| Cell::Text(text.to_owned());
        let bytes = b"i-12;t3:a;:nr-0.5;t0:b2:\xff;i0;n";
        assert_eq!(
            unpacked(bytes, 4),
            Ok(vec![
                vec![
                    Cell::Integer(-12),
                    text("a;:"),
                    Cell::Null,
                    Cell::Real(-0.5)
                ],
                vec![
                    text(""),
                    Cell::Bytes(b"\xff;".to_vec()),
                    Cell::Integer(0),
                    Cell::Null
                ],
            ])
        );
        assert_eq!(unpacked(b"", 4), Ok(Vec::new()));
        assert!(is_exact(bytes) && is_exact(b""));
        assert!(!is_exact(b"i1;x1e300;t1:a") && !is_exact(b"t5:abc"));
        for end in 1..bytes.len() {
            let whole = end == b"i-12;t3:a;:nr-0.5;".len();
            assert_eq!(unpacked(&bytes[..end], 4).is_ok(), whole, "{end}");
        }
        assert_eq!(unpacked(b"t1:\xff", 1), Err(Broken::Text));
        assert_eq!(unpacked(b"x", 1), Err(Broken::Form));
    }
}
