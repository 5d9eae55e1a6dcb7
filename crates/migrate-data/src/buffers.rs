//! Room for rows on their way through this process, used again: an allocator that is asked for
//! mebibytes from many threads, again and again, keeps more than are in use.

use std::sync::{Arc, Mutex, PoisonError};

/// So many are kept while nobody uses them.
const KEPT: usize = 16;

/// A larger one is given back: a single row can be that large.
const LARGEST: usize = 8 << 20;

/// Buffers that all workers of a copy share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// An empty one for what is read, which is smaller than what is made of it.
    pub(crate) fn to_read(&self) -> Vec<u8> {
        self.taken(|room| room)
    }

    /// An empty one for what is made.
    pub(crate) fn to_make(&self) -> Vec<u8> {
        self.taken(std::cmp::Reverse)
    }

    /// The one whose room comes first.
    fn taken<K: Ord>(&self, order: impl Fn(usize) -> K) -> Vec<u8> {
        let mut kept = self.kept();
        let places = 0..kept.len();
        let first = places.min_by_key(|at| order(kept[*at].capacity()));
        first.map_or_else(Vec::new, |at| kept.swap_remove(at))
    }

    /// Takes one back that is not needed any more.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let mut kept = self.kept();
        if kept.len() < KEPT && (1..=LARGEST).contains(&buffer.capacity()) {
            buffer.clear();
            kept.push(buffer);
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // What a thread left that panicked is as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds to a buffer, which grows by no more than it needs and a little: doubled, many of them would
/// be half empty. Room for a few short values is left behind it.
pub(crate) fn add(buffer: &mut Vec<u8>, bytes: &[u8]) {
    const STEP: usize = 128 << 10;
    const LEFT: usize = 4 << 10;

    if buffer.capacity() - buffer.len() < bytes.len() + LEFT {
        buffer.reserve_exact(bytes.len() + STEP);
    }
    buffer.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again_but_not_without_bounds() {
        let buffers = Buffers::default();
        let mut first = buffers.to_read();
        first.extend_from_slice(b"row");
        let room = first.capacity();
        buffers.give(first);
        buffers.give(Vec::with_capacity(room + 100));
        assert!(buffers.to_make().capacity() > room);
        let again = buffers.to_read();
        assert!(again.is_empty() && again.capacity() == room);
        buffers.give(Vec::with_capacity(LARGEST + 1));
        assert_eq!(buffers.to_read().capacity(), 0);
        for _ in 0..2 * KEPT {
            buffers.give(vec![1]);
        }
        assert_eq!(buffers.kept().len(), KEPT);
    }
}
