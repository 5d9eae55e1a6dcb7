//! `schema …`: what a user does who comes with migrations of another tool.

mod concurrently;
mod doubt;
mod drift;
mod dump;
mod killed;
mod layouts;
mod lint;
mod locks;
mod mending;
mod mixed;
mod refinery;
mod running;
mod step;
mod strangers;
mod struck;
mod takeover;
mod transactions;
mod verify;
mod world;
