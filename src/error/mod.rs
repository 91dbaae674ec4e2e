//! What goes wrong: kinds with their data, a short code for each (`docs/errors.md` lists them), and what would help.

mod device;
mod fault;
mod faults;
mod harmless;
mod kinds;
mod memory;
mod others;
mod place;
mod remedy;
mod usage;

pub(crate) use device::lack;
pub use device::{Failure, Lost, NotFinite, Unfit};
pub use fault::{Defect, Fault};
pub use faults::Faults;
pub use harmless::{LINE_CHARACTERS, harmless};
pub(crate) use harmless::{QUOTED, list, quoted};
pub use kinds::{Error, Result};
pub use memory::{Advice, Bound, NoRoom, Part, Planned};
pub use others::Others;
pub use place::Place;
pub use remedy::{Remedy, Speller};
pub use usage::Usage;
