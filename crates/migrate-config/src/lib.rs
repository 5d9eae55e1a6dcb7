//! Format-preserving edits and typed migrations of configuration files.
