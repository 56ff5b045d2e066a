//! Forwarding on the real embedded broker, to real HTTP receivers. In: events appended to the log. Out: what arrived, rows
//! and dead letters. One program, so that the world they share is compiled once and used whole.

mod fates;
mod gone;
mod requests;
mod world;
