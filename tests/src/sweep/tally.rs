//! What many rounds add up to.

use std::collections::BTreeMap;
use std::fmt;

use super::round::{End, Outcome};

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    rounds: u32,
    kills: u32,
    unharmed: u32,
    resumed: u32,
    rolled_back: u32,
    between: u32,
    stuck: u32,
    lost: u32,
}

/// Rounds by the sort of strike.
#[derive(Debug, Default)]
pub struct Tally {
    rows: BTreeMap<String, Row>,
}

impl Tally {
    /// Counts one round; an error is one that lost something.
    pub fn count<E>(&mut self, sort: &str, outcome: &Result<Outcome, E>) {
        let row = self.rows.entry(sort.to_owned()).or_default();
        row.rounds += 1;
        match outcome {
            Err(_) => row.lost += 1,
            Ok(outcome) => {
                row.kills += outcome.kills;
                match outcome.end {
                    End::Unharmed => row.unharmed += 1,
                    End::Resumed => row.resumed += 1,
                    End::RolledBack => row.rolled_back += 1,
                    End::Between => row.between += 1,
                    End::Stuck => row.stuck += 1,
                }
            }
        }
    }

    /// How many rounds lost something.
    pub fn lost(&self) -> u32 {
        self.rows.values().map(|row| row.lost).sum()
    }

    /// How many rounds there were.
    pub fn rounds(&self) -> u32 {
        self.rows.values().map(|row| row.rounds).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| strike | rounds | kills | unharmed | resumed | rolled back | at a version between | stuck | lost |\n\
             |---|---|---|---|---|---|---|---|---|"
        )?;
        let mut sum = Row::default();
        let line = |name: &str, row: &Row, f: &mut fmt::Formatter<'_>| {
            writeln!(
                f,
                "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.rounds,
                row.kills,
                row.unharmed,
                row.resumed,
                row.rolled_back,
                row.between,
                row.stuck,
                row.lost
            )
        };
        for (name, row) in &self.rows {
            line(name, row, f)?;
            sum.rounds += row.rounds;
            sum.kills += row.kills;
            sum.unharmed += row.unharmed;
            sum.resumed += row.resumed;
            sum.rolled_back += row.rolled_back;
            sum.between += row.between;
            sum.stuck += row.stuck;
            sum.lost += row.lost;
        }
        line("**all**", &sum, f)?;
        if sum.lost == 0 && sum.rounds > 0 {
            // The rule of three: no event in n tries bounds the rate at 3/n with 95 % confidence.
            let bound = 300.0 / f64::from(sum.rounds);
            writeln!(
                f,
                "\nNothing lost in {} rounds: with 95 % confidence the rate is below {bound:.2} % of strikes.",
                sum.rounds
            )?;
        }
        Ok(())
    }
}
