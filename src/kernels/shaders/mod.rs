//! Shader texts, composed of a stem and the snippets that it needs.
//!
//! Each file in `shaders/` begins with a head, which says what the file needs and gives; `head` reads it and describes its form.
//! `library` has all files. `rules` has the choices that make variants; `compose` leads from a stem's needs to the snippets that give
//! them, and from these to what they need. `names` is a test of the heads. `text` has all shaders in all variants, which are found by trying, and `bindings` the buffers of each.

mod bindings;
mod compose;
mod head;
mod library;
#[cfg(test)]
mod names;
mod rules;
mod text;

pub(super) use bindings::numbered;
pub(crate) use text::version;
pub use text::{SHADERS, SUBGROUP, Shader, source};
pub(super) use text::{find, has_subgroups};
