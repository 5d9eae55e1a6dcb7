//! Reading a plan with every finding at once.
