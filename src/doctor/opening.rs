//! Opening an adapter as a program does that asks for nothing else.

use super::note::Note;
use super::start::open_checked;
use crate::gpu::{Gpu, Mask};
use crate::{Result, cache_folder};

/// Opens the default adapter, or the one that `adapter` is a part of the name, driver or API of, as `lapidary chat` does: at
/// its first start it is checked, which takes seconds, and what failed is left unused at every start. What is known is kept in
/// [`cache_folder()`]; where there is none, nothing is checked. `note` gets lines for people.
///
/// # Errors
/// Those of [`Gpu::open`], and where no check can run.
pub fn open(adapter: Option<&str>, note: &dyn Fn(Note)) -> Result<Gpu> {
    let open = |without: &Mask| Gpu::open_without(adapter, 0, without);
    match cache_folder() {
        Some(folder) => open_checked(&open, &Mask::default(), &folder, note),
        None => open(&Mask::default()),
    }
}
