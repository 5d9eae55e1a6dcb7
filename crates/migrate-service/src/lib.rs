//! Service control, command and cleanup steps.
