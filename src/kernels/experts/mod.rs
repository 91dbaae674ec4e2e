//! The mixture of experts: who chooses them, whose rows go together, and the sum of what they give.

pub mod moe_combine;
pub mod moe_group;
pub mod moe_sum;
pub mod router;
