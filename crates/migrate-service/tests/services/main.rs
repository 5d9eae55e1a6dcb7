//! Services as real background processes, health probes on loopback, and stand-ins for systemctl and docker.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod deployment;
mod health;
mod managers;
mod own_commands;
mod restart;
