//! What differs from layer to layer.

/// Which positions a layer attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LayerKind {
    /// The last `sliding_window` ones (`sliding_attention`).
    Sliding,
    /// All of them (`full_attention`).
    Full,
}

impl LayerKind {
    /// As `layer_types` has it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            LayerKind::Sliding => "sliding_attention",
            LayerKind::Full => "full_attention",
        }
    }
}

/// Rotary position embedding of one layer: pair `i` of `head_dim / 2` turns by `position * theta^(-2i / head_dim) /
/// factor` for `i < rotated_pairs` and not at all beyond.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rope {
    /// Base of the frequencies (`rope_theta`).
    pub theta: f64,
    /// Pairs that turn, of `head_dim / 2`.
    pub rotated_pairs: usize,
    /// Divides every frequency; 1 in all releases.
    pub factor: f64,
}

/// One layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerConfig {
    /// Which positions it attends to.
    pub kind: LayerKind,
    /// Size of one head.
    pub head_dim: usize,
    /// Heads of K and V.
    pub num_key_value_heads: usize,
    /// Width of the dense MLP, doubled where `use_double_wide_mlp` applies.
    pub intermediate_size: usize,
    /// The layer whose K and V this one reads; `None` if it has its own.
    pub kv_source: Option<usize>,
    /// Rotation of Q and K.
    pub rope: Rope,
    /// V is made of what `k_proj` gives; there is no `v_proj`.
    pub k_eq_v: bool,
}
