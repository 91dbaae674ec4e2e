//! The table of shaders: which snippets stand before each one.

use crate::gpu::PipelineKey;

/// One shader text: a stem, its variant, and the parts that make it up.
#[derive(Debug)]
pub struct Shader {
    /// The file's stem in `shaders/`.
    pub stem: &'static str,
    /// Says which snippets it is made with: "dense" or "packed" where the shader reads weights as they are, what multiplies
    /// them where that is not plain f32, "rounded" where activations go in or come out rounded.
    pub variant: &'static str,
    parts: &'static [&'static str],
}

impl Shader {
    /// The whole WGSL text, with the parts for subgroups where there are such and they are wanted.
    pub fn wgsl(&self, subgroups: bool) -> String {
        let twin =
            |part: &&'static str| TWINS.iter().find(|(plain, _)| subgroups && plain == part).map(|(_, twin)| *twin);
        let parts: Vec<&str> = self.parts.iter().map(|part| twin(part).unwrap_or(part)).collect();
        parts.join("\n")
    }

    /// Whether it has parts for subgroups.
    pub fn has_subgroups(&self) -> bool {
        self.parts.iter().any(|part| TWINS.iter().any(|(plain, _)| plain == part))
    }
}

macro_rules! wgsl {
    ($name:literal) => {
        include_str!(concat!("../../shaders/", $name, ".wgsl"))
    };
}

const GELU: &str = wgsl!("common/gelu");
const HALF: &str = wgsl!("common/half");
const EXACT_Y: &str = wgsl!("common/exact_y");
const ROUNDED_Y: &str = wgsl!("common/rounded_y");
const ROUNDED_YS: &str = wgsl!("common/rounded_ys");
const ROUNDING: &str = wgsl!("common/rounding");
const ROUND_QUADS: &str = wgsl!("common/round_quads");
const BLOCK_SUM: &str = wgsl!("common/block_sum");
const CHOOSE: &str = wgsl!("common/choose");
const BESIDE_NONE: &str = wgsl!("common/beside_none");
const BESIDE_CHOICE: &str = wgsl!("common/beside_choice");
const BESIDE_PRODUCT: &str = wgsl!("common/beside_product");
const EXACT_X: &str = wgsl!("common/exact_x");
const OUTPUTS: &str = wgsl!("common/outputs");
const ROUNDED_OUTPUTS: &str = wgsl!("common/rounded_outputs");
const ROUNDED: &str = wgsl!("common/rounded");
const ROUNDED_X: &str = wgsl!("common/rounded_x");
const DENSE: &str = wgsl!("common/dense");
const KV: &str = wgsl!("common/kv");
const KV_PACK: &str = wgsl!("common/kv_pack");
const KV_BLOCKS: &str = wgsl!("common/kv_blocks");
const LINES16: &str = wgsl!("common/lines16");
const LINES8: &str = wgsl!("common/lines8");
const LINE_SUMS: &str = wgsl!("common/line_sums");
const OWN_HEADS: &str = wgsl!("common/own_heads");
const SCORE_KEYS: &str = wgsl!("common/score_keys");
const READ_VALUES: &str = wgsl!("common/read_values");
const TILE_SCORES: &str = wgsl!("common/tile_scores");
const FOUR_SUMS: &str = wgsl!("common/four_sums");
const PACKED: &str = wgsl!("common/packed");
const PRODUCT: &str = wgsl!("common/product");
const HELD: &str = wgsl!("common/held");
const REDUCE: &str = wgsl!("common/reduce");
const ROTATE: &str = wgsl!("common/rotate");
const ROWS: &str = wgsl!("common/rows");
const SPLITS: &str = wgsl!("common/splits");
const STRIPS: &str = wgsl!("common/strips");
const SUMS: &str = wgsl!("common/sums");
const WEIGH: &str = wgsl!("common/weigh");
const TILE: &str = wgsl!("common/tile");
const READ_DENSE: &str = wgsl!("common/read_dense");
const READ_PACKED: &str = wgsl!("common/read_packed");
const LANE_TILE: &str = wgsl!("common/lane_tile");
const DOT_TILE: &str = wgsl!("common/dot_tile");
const PLAIN_TILE: &str = wgsl!("common/plain_tile");
const DIRECT_TILE: &str = wgsl!("common/direct_tile");
const ENABLE_F16: &str = wgsl!("common/enable_f16");
const ENABLE_MATRIX: &str = wgsl!("common/enable_matrix");
const MATRIX16: &str = wgsl!("common/matrix16");
const MATRIX8: &str = wgsl!("common/matrix8");
const MATRIX_TILE: &str = wgsl!("common/matrix_tile");
const MATMUL: &str = wgsl!("product/matmul");
const GROUPED: &str = wgsl!("product/matmul_grouped");

/// Parts that lanes of a subgroup do without workgroup memory, beside those that any device runs.
const TWINS: &[(&str, &str)] = &[
    (REDUCE, wgsl!("common/reduce_subgroups")),
    (BLOCK_SUM, wgsl!("common/block_sum_subgroups")),
    (ROUND_QUADS, wgsl!("common/round_quads_subgroups")),
];

/// Every shader in every variant.
pub const SHADERS: &[Shader] = &[
    Shader {
        stem: "matvec",
        variant: "dense",
        parts: &[HALF, GELU, PRODUCT, DENSE, EXACT_X, OUTPUTS, BESIDE_NONE, BLOCK_SUM, wgsl!("product/matvec")],
    },
    Shader {
        stem: "matvec",
        variant: "packed",
        parts: &[HALF, GELU, PRODUCT, PACKED, EXACT_X, OUTPUTS, BESIDE_NONE, BLOCK_SUM, wgsl!("product/matvec")],
    },
    Shader {
        stem: "matvec",
        variant: "rounded",
        parts: &[HALF, GELU, PRODUCT, PACKED, ROUNDED_X, OUTPUTS, BESIDE_NONE, BLOCK_SUM, wgsl!("product/matvec")],
    },
    Shader {
        stem: "matvec",
        variant: "rounding",
        parts: &[
            HALF,
            GELU,
            PRODUCT,
            PACKED,
            ROUNDED_X,
            ROUNDED,
            ROUNDED_OUTPUTS,
            BESIDE_NONE,
            BLOCK_SUM,
            wgsl!("product/matvec"),
        ],
    },
    Shader {
        stem: "matvec",
        variant: "rounding beside product",
        parts: &[
            HALF,
            GELU,
            PRODUCT,
            PACKED,
            ROUNDED_X,
            ROUNDED,
            ROUNDED_OUTPUTS,
            BESIDE_PRODUCT,
            BLOCK_SUM,
            wgsl!("product/matvec"),
        ],
    },
    Shader {
        stem: "matvec",
        variant: "rounded beside choice",
        parts: &[
            HALF,
            GELU,
            PRODUCT,
            PACKED,
            ROUNDED_X,
            OUTPUTS,
            CHOOSE,
            BESIDE_CHOICE,
            BLOCK_SUM,
            wgsl!("product/matvec"),
        ],
    },
    Shader {
        stem: "matmul",
        variant: "dense",
        parts: &[HALF, PRODUCT, DENSE, READ_DENSE, TILE, LANE_TILE, PLAIN_TILE, DIRECT_TILE, MATMUL],
    },
    Shader {
        stem: "matmul",
        variant: "dense matrix16",
        parts: &[ENABLE_MATRIX, HALF, PRODUCT, DENSE, READ_DENSE, TILE, MATRIX16, MATRIX_TILE, MATMUL],
    },
    Shader {
        stem: "matmul",
        variant: "dense matrix8",
        parts: &[ENABLE_MATRIX, HALF, PRODUCT, DENSE, READ_DENSE, TILE, MATRIX8, MATRIX_TILE, MATMUL],
    },
    Shader {
        stem: "matmul",
        variant: "packed",
        parts: &[HALF, PRODUCT, PACKED, READ_PACKED, TILE, LANE_TILE, PLAIN_TILE, DIRECT_TILE, MATMUL],
    },
    Shader {
        stem: "matmul",
        variant: "packed matrix16",
        parts: &[ENABLE_MATRIX, HALF, PRODUCT, PACKED, READ_PACKED, TILE, MATRIX16, MATRIX_TILE, MATMUL],
    },
    Shader {
        stem: "matmul",
        variant: "packed matrix8",
        parts: &[ENABLE_MATRIX, HALF, PRODUCT, PACKED, READ_PACKED, TILE, MATRIX8, MATRIX_TILE, MATMUL],
    },
    Shader {
        stem: "matmul_grouped",
        variant: "dense",
        parts: &[HALF, PRODUCT, DENSE, READ_DENSE, TILE, LANE_TILE, PLAIN_TILE, DIRECT_TILE, GROUPED],
    },
    Shader {
        stem: "matmul_grouped",
        variant: "dense matrix16",
        parts: &[ENABLE_MATRIX, HALF, PRODUCT, DENSE, READ_DENSE, TILE, MATRIX16, MATRIX_TILE, GROUPED],
    },
    Shader {
        stem: "matmul_grouped",
        variant: "dense matrix8",
        parts: &[ENABLE_MATRIX, HALF, PRODUCT, DENSE, READ_DENSE, TILE, MATRIX8, MATRIX_TILE, GROUPED],
    },
    Shader {
        stem: "matmul_grouped",
        variant: "packed",
        parts: &[HALF, PRODUCT, PACKED, READ_PACKED, TILE, LANE_TILE, PLAIN_TILE, DIRECT_TILE, GROUPED],
    },
    Shader {
        stem: "matmul_grouped",
        variant: "packed matrix16",
        parts: &[ENABLE_MATRIX, HALF, PRODUCT, PACKED, READ_PACKED, TILE, MATRIX16, MATRIX_TILE, GROUPED],
    },
    Shader {
        stem: "matmul_grouped",
        variant: "packed matrix8",
        parts: &[ENABLE_MATRIX, HALF, PRODUCT, PACKED, READ_PACKED, TILE, MATRIX8, MATRIX_TILE, GROUPED],
    },
    Shader {
        stem: "matmul",
        variant: "packed dot",
        parts: &[HALF, PRODUCT, PACKED, TILE, LANE_TILE, DOT_TILE, MATMUL],
    },
    Shader {
        stem: "matmul_grouped",
        variant: "packed dot",
        parts: &[HALF, PRODUCT, PACKED, TILE, LANE_TILE, DOT_TILE, GROUPED],
    },
    Shader { stem: "quantize_rows", variant: "", parts: &[wgsl!("rounding/quantize_rows")] },
    Shader { stem: "round_rows", variant: "", parts: &[ENABLE_F16, wgsl!("rounding/round_rows")] },
    Shader { stem: "sum_shares", variant: "", parts: &[wgsl!("product/sum_shares")] },
    Shader { stem: "embed", variant: "dense", parts: &[HALF, DENSE, ROWS, wgsl!("rows/embed")] },
    Shader { stem: "embed", variant: "packed", parts: &[HALF, PACKED, ROWS, wgsl!("rows/embed")] },
    Shader {
        stem: "rms_norm",
        variant: "rounded",
        parts: &[REDUCE, HELD, ROUNDED, ROUNDING, ROUND_QUADS, ROUNDED_Y, wgsl!("norm/rms_norm")],
    },
    Shader { stem: "rms_norm", variant: "", parts: &[REDUCE, HELD, EXACT_Y, wgsl!("norm/rms_norm")] },
    Shader { stem: "add_norm", variant: "", parts: &[REDUCE, HELD, EXACT_Y, wgsl!("norm/add_norm")] },
    Shader {
        stem: "add_norm",
        variant: "rounded",
        parts: &[REDUCE, HELD, ROUNDED, ROUNDING, ROUND_QUADS, ROUNDED_Y, wgsl!("norm/add_norm")],
    },
    Shader {
        stem: "add_norm",
        variant: "rounded twice",
        parts: &[REDUCE, HELD, ROUNDED, ROUNDING, ROUND_QUADS, ROUNDED_YS, wgsl!("norm/add_norm")],
    },
    Shader { stem: "moe_combine", variant: "", parts: &[REDUCE, HELD, EXACT_Y, wgsl!("experts/moe_combine")] },
    Shader {
        stem: "moe_combine",
        variant: "rounded",
        parts: &[REDUCE, HELD, ROUNDED, ROUNDING, ROUND_QUADS, ROUNDED_Y, wgsl!("experts/moe_combine")],
    },
    Shader { stem: "per_layer_inputs", variant: "", parts: &[REDUCE, wgsl!("norm/per_layer_inputs")] },
    Shader { stem: "moe_group", variant: "", parts: &[wgsl!("experts/moe_group")] },
    Shader { stem: "moe_sum", variant: "", parts: &[wgsl!("experts/moe_sum")] },
    Shader { stem: "not_finite", variant: "", parts: &[wgsl!("rows/not_finite")] },
    Shader { stem: "round", variant: "", parts: &[ROUNDED, wgsl!("rounding/round")] },
    Shader { stem: "router", variant: "", parts: &[CHOOSE, wgsl!("experts/router")] },
    Shader { stem: "gelu_mul", variant: "", parts: &[GELU, wgsl!("product/gelu_mul")] },
    Shader {
        stem: "head_norm_rope",
        variant: "",
        parts: &[REDUCE, ROWS, KV, KV_PACK, ROTATE, wgsl!("attention/head_norm_rope")],
    },
    Shader { stem: "kv_store", variant: "", parts: &[ROWS, wgsl!("attention/kv_store")] },
    Shader {
        stem: "attention",
        variant: "",
        parts: &[
            ROWS,
            SPLITS,
            KV,
            KV_PACK,
            ROTATE,
            OWN_HEADS,
            SCORE_KEYS,
            READ_VALUES,
            SUMS,
            wgsl!("attention/attention"),
        ],
    },
    Shader {
        stem: "attention_matrix",
        variant: "matrix16",
        parts: &[
            ENABLE_MATRIX,
            ROWS,
            SPLITS,
            KV,
            MATRIX16,
            LINES16,
            KV_BLOCKS,
            WEIGH,
            LINE_SUMS,
            wgsl!("attention/attention_matrix"),
        ],
    },
    Shader {
        stem: "attention_matrix",
        variant: "matrix8",
        parts: &[
            ENABLE_MATRIX,
            ROWS,
            SPLITS,
            KV,
            MATRIX8,
            LINES8,
            KV_BLOCKS,
            WEIGH,
            LINE_SUMS,
            wgsl!("attention/attention_matrix"),
        ],
    },
    Shader {
        stem: "attention_tile",
        variant: "",
        parts: &[ROWS, SPLITS, KV, TILE_SCORES, FOUR_SUMS, wgsl!("attention/attention_tile")],
    },
    Shader {
        stem: "attention_join",
        variant: "",
        parts: &[ROWS, SPLITS, wgsl!("common/join_exact"), wgsl!("attention/attention_join")],
    },
    Shader {
        stem: "attention_join",
        variant: "rounded",
        parts: &[ROWS, SPLITS, ROUNDED, wgsl!("common/join_rounded"), wgsl!("attention/attention_join")],
    },
    Shader { stem: "gather_rows", variant: "", parts: &[wgsl!("rows/gather_rows")] },
    Shader { stem: "argmax", variant: "", parts: &[wgsl!("choice/argmax")] },
    Shader { stem: "suppress", variant: "", parts: &[wgsl!("choice/suppress")] },
    Shader { stem: "strip_max", variant: "", parts: &[STRIPS, wgsl!("choice/strip_max")] },
    Shader { stem: "sample", variant: "", parts: &[STRIPS, wgsl!("choice/sample")] },
    Shader { stem: "fill_random", variant: "", parts: &[wgsl!("rows/fill_random")] },
    Shader { stem: "copy_words", variant: "", parts: &[wgsl!("rows/copy_words")] },
];

/// A text that changes with the program's version and with any shader.
pub(crate) fn version() -> String {
    let mut text = env!("CARGO_PKG_VERSION").to_owned();
    for shader in SHADERS {
        text.push_str(&shader.wgsl(false));
        text.push_str(&shader.wgsl(true));
    }
    text
}

/// Numbers of the bindings that a shader writes as f32: declarations stand on a line each.
pub(super) fn float_outputs(wgsl: &str) -> Vec<u32> {
    let is_float = |line: &str| {
        line.contains("var<storage, read_write>") && ["array<f32>", "array<vec4<f32>>"].iter().any(|t| line.contains(t))
    };
    let number = |line: &str| line.split_once("@binding(")?.1.split_once(')')?.0.parse().ok();
    wgsl.lines().filter(|line| is_float(line)).filter_map(number).collect()
}

/// The text for a key, with parameters in a uniform buffer: [`crate::gpu::with_immediates`] gives the other.
///
/// # Panics
/// If no shader of [`SHADERS`] has the key's stem and variant.
pub fn source(key: &PipelineKey) -> String {
    let subgroups = key.constants.iter().any(|(name, _)| *name == SUBGROUP);
    find(key).wgsl(subgroups)
}

/// The shader that a key names.
pub(super) fn find(key: &PipelineKey) -> &'static Shader {
    let named = |s: &&Shader| s.stem == key.stem && s.variant == key.variant;
    SHADERS.iter().find(named).expect("kernels name shaders of the table")
}

/// The constant that stands where lanes add up within subgroups: how many lanes the smallest one has.
pub const SUBGROUP: &str = "SUBGROUP";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_found_in_the_text() {
        let outputs = |stem: &str, variant: &str| {
            let shader =
                SHADERS.iter().find(|s| s.stem == stem && s.variant == variant).expect("a shader of the table");
            float_outputs(&shader.wgsl(false))
        };
        assert_eq!(outputs("matvec", "packed"), [7]);
        assert_eq!(outputs("matvec", "rounding beside product"), [7, 13]);
        assert_eq!(outputs("add_norm", "rounded twice"), [3, 4, 5, 6]);
        assert_eq!(outputs("attention", ""), [7]);
        assert!(outputs("kv_store", "").is_empty() && outputs("argmax", "").is_empty());
        // Each kernel of a body but those that make codes, lists or choices has one.
        // Queries of chunks are words, in f32 or f16: what attention makes of them shows it.
        let others = [
            "quantize_rows",
            "round",
            "kv_store",
            "moe_group",
            "argmax",
            "suppress",
            "strip_max",
            "sample",
            "head_norm_rope",
        ];
        for shader in SHADERS.iter().filter(|s| !others.contains(&s.stem)) {
            let is_whole = ["fill_random", "copy_words", "not_finite"].contains(&shader.stem);
            assert_eq!(float_outputs(&shader.wgsl(true)).is_empty(), is_whole, "{} {:?}", shader.stem, shader.variant);
        }
    }
}
