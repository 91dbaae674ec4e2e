//! Inputs from real life that once went wrong, `../shared/cases/files`, and others of their kinds: each ends as its README says,
//! through the harness for hostile input. Skipped, and said so, where the folder is not at hand.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "cases/files.rs"]
mod files;
#[path = "cases/folders.rs"]
mod folders;
#[path = "common/harness.rs"]
mod harness;
#[path = "cases/siblings.rs"]
mod siblings;
#[path = "cases/text.rs"]
mod text;
