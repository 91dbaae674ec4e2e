//! A step: ranks, exchange between them, what was asked for and what comes back.

pub(crate) mod ahead;
pub(crate) mod copy_rate;
pub(crate) mod exchange;
pub(crate) mod fault;
mod held;
pub(crate) mod host_experts;
pub(crate) mod rank;
pub(crate) mod step;
pub(crate) mod traffic;
pub(crate) mod under_way;
pub(crate) mod windows;
