//! The one table of the model's tensors. Each row ([`Entry`]) says of a tensor its name, its shape, what it is for, how ranks
//! cut it, where it goes in a loaded model and which layers have it. Whoever needs the tensors iterates
//! [`Config::tensors`](crate::gemma4::Config), which makes of the rows what a configuration asks for: what finds them in
//! files, writes made-up files, takes memory for them, uploads or makes them, counts their traffic, and the reference.

mod entry;
mod placed;
mod projection;
mod role;
mod table;
mod text;

pub use entry::{CutBy, Entry, Norm, Place, Scope, Shape, SizeOf, When};
pub(crate) use placed::{AtPlace, Dimensions, Placed};
pub use projection::Projection;
pub use role::Role;
pub use table::Table;
