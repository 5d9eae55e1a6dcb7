//! Batched, parallel, resumable table copies and transforms.
