//! From prompt ids to generated ids: sequences in slots, sampling, stop rules. Ids only, never text.
//!
//! [`Generator`] owns a model and remembers which ids each slot holds, so that the next turn of a conversation runs only
//! what is new; where the device is lost, it can load the model again and go on. [`Sampler`] chooses from logits by temperature, top-k and top-p, in this order, from a seeded counter.
//! Where the model runs ahead of its tokens, the device chooses instead, by the same rules and with the sampler's numbers;
//! the host chooses behind a prompt, without a top-k or with a large one, and on several ranks.

mod generator;
mod length;
mod recovery;
mod sampler;

pub use generator::{Finish, Generator, Outcome, Request, Timings};
pub use length::check_length;
pub use sampler::{Sampler, Sampling};
