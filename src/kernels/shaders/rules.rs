//! The choices of which variants are made, and what does not go together though it could be composed.

use super::library::Snippet;

/// What variants choose: of each list one word at most, and a variant is its words in this order.
pub(super) const CHOICES: [&[&str]; 4] = [
    // How weights are stored.
    &["dense", "packed"],
    // Activations in int8: they come in so, come in and go out so, or two outputs are.
    &["rounded", "rounding", "rounded twice"],
    // What multiplies where rows are many, unless it is f32 arithmetic.
    &["dot", "matrix16", "matrix8"],
    // What else a product's dispatch does.
    &["beside choice", "beside product"],
];

/// Picks the parts that add up within subgroups. It is no word of a variant: whether it is chosen depends on the device and on the
/// workgroup's lanes.
pub(super) const SUBGROUPS: &str = "subgroups";

/// Whether a stem may have a variant of these words. What cannot be composed need not be refused here.
pub(super) fn allows(stem: &Snippet, words: &[&str]) -> bool {
    let has = |word| words.contains(&word);
    // The choice of experts is beside products of rounded activations, the router's product beside gated ones.
    let beside = (!has("beside choice") || has("rounded")) && (!has("beside product") || has("rounding"));
    // The others have one output.
    beside && (!has("rounded twice") || stem.name == "add_norm")
}
