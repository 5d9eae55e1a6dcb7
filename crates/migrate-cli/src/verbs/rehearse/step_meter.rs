//! How much log and space each step takes: looked at when the engine tells that a step begins
//! and ends.

use std::collections::HashMap;
use std::sync::Arc;

use migrate_core::{Event, Reporter, StepId};
use migrate_schema::db::Database;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::certificate::StepFigures;
use super::play::{Count, number};

/// Log position and size at a moment.
type Level = (Option<u64>, Option<u64>);

/// A moment of a step.
enum Moment {
    Begun(StepId),
    Ended(StepId),
}

/// Passes events on, and the moments of steps to the one who looks.
struct Told {
    next: Arc<dyn Reporter>,
    moments: UnboundedSender<Moment>,
}

impl Reporter for Told {
    fn event(&self, event: &Event) {
        let moment = match event {
            Event::StepStarted { step, .. } => Some(Moment::Begun(step.clone())),
            Event::StepFinished { step, .. } => Some(Moment::Ended(step.clone())),
            _ => None,
        };
        if let Some(moment) = moment {
            // Nobody looks any more only when the run is over.
            let _ = self.moments.send(moment);
        }
        self.next.event(event);
    }
}

/// What is being looked at.
pub(super) struct Watch(JoinHandle<HashMap<StepId, Level>>);

/// A reporter for a run, and what it finds. The watch ends when the reporter is dropped.
pub(super) fn watch(next: Arc<dyn Reporter>, db: Database) -> (Arc<dyn Reporter>, Watch) {
    let (moments, looked) = unbounded_channel();
    let watch = Watch(tokio::spawn(look(db, looked)));
    (Arc::new(Told { next, moments }), watch)
}

async fn look(db: Database, mut moments: UnboundedReceiver<Moment>) -> HashMap<StepId, Level> {
    let mut begun = HashMap::new();
    let mut found = HashMap::new();
    while let Some(moment) = moments.recv().await {
        let now = level(&db).await;
        match moment {
            Moment::Begun(step) => {
                begun.insert(step, now);
            }
            Moment::Ended(step) => {
                let Some(then) = begun.remove(&step) else {
                    continue;
                };
                let more = |now: Option<u64>, then: Option<u64>| {
                    now.zip(then).map(|(now, then)| now.saturating_sub(then))
                };
                found.insert(step, (more(now.0, then.0), more(now.1, then.1)));
            }
        }
    }
    found
}

async fn level(db: &Database) -> Level {
    let of = |found: Result<Option<u64>, _>| found.ok().flatten();
    (
        of(number(db, Count::Wal).await),
        of(number(db, Count::Bytes).await),
    )
}

impl Watch {
    /// Enters what was found into the figures of the steps.
    pub(super) async fn enter(self, mut figures: Vec<StepFigures>) -> Vec<StepFigures> {
        let found = self.0.await.unwrap_or_default();
        for step in &mut figures {
            if let Some((wal, space)) = found.get(&step.step) {
                (step.wal_bytes, step.space_bytes) = (*wal, *space);
            }
        }
        figures
    }
}
