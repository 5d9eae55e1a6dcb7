//! What a role without rights plants in a database, and that nothing of it runs as somebody else:
//! neither as the superuser nor as the owner who runs the tool. docs/security.md names these tests.
#![expect(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod others_code;
mod planted;
mod row_security;
mod search_path;
mod squatted;
