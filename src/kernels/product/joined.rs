//! Matrices whose products stand side by side.

use super::weights::Weights;

/// A matrix of a [`Joined`], or a stack of several.
#[derive(Debug)]
pub(crate) struct Named {
    /// The name of its dispatch: `q_proj`, or that of a stack, `qkv_proj`, `mlp.gate_up_proj`.
    pub label: &'static str,
    pub weights: Weights,
}

/// Matrices whose results stand side by side: one stack where their formats agree, else each on its own.
#[derive(Debug)]
pub(crate) struct Joined(pub Vec<Named>);

impl Joined {
    /// The stack, where there is only one.
    pub(crate) fn only(&self) -> Option<&Named> {
        match self.0.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}
