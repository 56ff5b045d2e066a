//! The registry as its users see it: writes, restarts, followers, files. One binary, so that it links once.

mod copies;
mod desks;
mod floods;
mod index;
mod manifest;
mod manifest_errors;
mod opened;
mod restart;
mod seals;
mod writes;
