//! dbmate: `V_name.sql` with `-- migrate:up [transaction:false]` and `-- migrate:down`.

use super::migration::{Migration, Transactions};
use super::plain::{is_sql, named, spaced};
use super::section::Section;
use super::{Reading, SourceFile, Version, markers};

pub(super) fn read(files: &[SourceFile]) -> Reading {
    let mut reading = Reading::default();
    for file in files.iter().filter(|file| is_sql(file)) {
        let Some(named) = named(file) else {
            reading.ignore(file, "its name is not VERSION_name.sql");
            continue;
        };
        let blocks = match blocks(file) {
            Ok(blocks) => blocks,
            Err((at, why)) => {
                reading.error(file, at, why);
                continue;
            }
        };
        let mut ups = blocks.iter().filter(|block| block.is_up);
        let Some(up) = ups.next() else {
            reading.error(file, 0, "there is no line `-- migrate:up`");
            continue;
        };
        if let Some(second) = ups.next() {
            reading.error(file, second.start, "there is a second `-- migrate:up`");
            continue;
        }
        let down = blocks.iter().find(|block| !block.is_up);
        let name = match named.suffix {
            "" => spaced(named.name),
            suffix => format!("{}.{suffix}", spaced(named.name)),
        };
        reading.migrations.push(Migration {
            transactions: up.transactions,
            down: down.map(|block| block.section(file)),
            down_transactions: down.map_or(Transactions::One, |block| block.transactions),
            ..Migration::versioned(
                Version::literal(named.version.as_str()),
                &name,
                up.section(file),
            )
        });
    }
    reading
}

struct Block {
    is_up: bool,
    transactions: Transactions,
    start: usize,
    end: usize,
}

impl Block {
    fn section(&self, file: &SourceFile) -> Section {
        Section::new(file, self.start..self.end)
    }
}

fn blocks(file: &SourceFile) -> Result<Vec<Block>, (usize, String)> {
    let text = &file.text;
    let mut blocks: Vec<Block> = Vec::new();
    for (start, line) in markers::lines(text) {
        let Some(mark) = markers::dbmate(line.trim_start_matches('\u{feff}')) else {
            let head = line.trim().trim_start_matches('\u{feff}');
            if blocks.is_empty() && !head.is_empty() && !head.starts_with("--") {
                return Err((start, "SQL stands before `-- migrate:up`".to_owned()));
            }
            continue;
        };
        let mut words = mark.split_whitespace();
        let is_up = match words.next() {
            Some("up") => true,
            Some("down") => false,
            _ => continue,
        };
        let mut transactions = Transactions::One;
        for option in words {
            transactions = match option {
                "transaction:false" => Transactions::PerStatement,
                "transaction:true" => Transactions::One,
                other => return Err((start, format!("{other} is no option of dbmate"))),
            };
        }
        if let Some(last) = blocks.last_mut() {
            last.end = start;
        }
        let end_of_line = text[start..]
            .find('\n')
            .map_or(text.len(), |at| start + at + 1);
        blocks.push(Block {
            is_up,
            transactions,
            start: end_of_line,
            end: text.len(),
        });
    }
    Ok(blocks)
}
