//! Shader texts, composed of a stem and the snippets that it needs.
//!
//! Each file in `shaders/` begins with a head, which says what the file needs and gives; `head` reads it and describes its form.
//! `library` has all files. `rules` has the choices that make variants; `compose` leads from a stem's needs to the snippets that give
//! them, and from these to what they need. `names` is a test of the heads. `text` has all shaders in all variants, which are found by
//! trying, `bindings` the buffers of each and `parameters` its numbers.

mod bindings;
mod compose;
mod head;
mod library;
#[cfg(test)]
mod names;
mod parameters;
mod rules;
mod text;

pub(super) use bindings::numbered;
pub(super) use parameters::compare;
pub(crate) use text::version;
pub use text::{SHADERS, SUBGROUP, Shader, source};
pub(super) use text::{find, has_subgroups};
