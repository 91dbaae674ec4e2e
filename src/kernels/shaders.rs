//! The table of shaders: which snippets stand before each one.

use crate::gpu::PipelineKey;

/// One shader text: a stem, its variant, and the parts that make it up.
#[derive(Debug)]
pub struct Shader {
    /// The file's stem in `shaders/`.
    pub stem: &'static str,
    /// "dense" or "packed" where the shader reads weights, else "".
    pub variant: &'static str,
    parts: &'static [&'static str],
}

impl Shader {
    /// The whole WGSL text.
    pub fn wgsl(&self) -> String {
        self.parts.join("\n")
    }
}

macro_rules! wgsl {
    ($name:literal) => {
        include_str!(concat!("../../shaders/", $name, ".wgsl"))
    };
}

const GELU: &str = wgsl!("common/gelu");
const HALF: &str = wgsl!("common/half");
const DENSE: &str = wgsl!("common/dense");
const PACKED: &str = wgsl!("common/packed");
const PRODUCT: &str = wgsl!("common/product");
const HELD: &str = wgsl!("common/held");
const REDUCE: &str = wgsl!("common/reduce");
const ROWS: &str = wgsl!("common/rows");
const SPLITS: &str = wgsl!("common/splits");
const TILE: &str = wgsl!("common/tile");

/// Every shader in every variant.
pub const SHADERS: &[Shader] = &[
    Shader { stem: "matvec", variant: "dense", parts: &[HALF, GELU, PRODUCT, DENSE, wgsl!("matvec")] },
    Shader { stem: "matvec", variant: "packed", parts: &[HALF, GELU, PRODUCT, PACKED, wgsl!("matvec")] },
    Shader { stem: "matmul", variant: "dense", parts: &[HALF, PRODUCT, DENSE, TILE, wgsl!("matmul")] },
    Shader { stem: "matmul", variant: "packed", parts: &[HALF, PRODUCT, PACKED, TILE, wgsl!("matmul")] },
    Shader { stem: "matmul_grouped", variant: "dense", parts: &[HALF, PRODUCT, DENSE, TILE, wgsl!("matmul_grouped")] },
    Shader {
        stem: "matmul_grouped",
        variant: "packed",
        parts: &[HALF, PRODUCT, PACKED, TILE, wgsl!("matmul_grouped")],
    },
    Shader { stem: "embed", variant: "dense", parts: &[HALF, DENSE, ROWS, wgsl!("embed")] },
    Shader { stem: "embed", variant: "packed", parts: &[HALF, PACKED, ROWS, wgsl!("embed")] },
    Shader { stem: "rms_norm", variant: "", parts: &[REDUCE, HELD, wgsl!("rms_norm")] },
    Shader { stem: "add_norm", variant: "", parts: &[REDUCE, HELD, wgsl!("add_norm")] },
    Shader { stem: "per_layer_inputs", variant: "", parts: &[REDUCE, wgsl!("per_layer_inputs")] },
    Shader { stem: "moe_combine", variant: "", parts: &[REDUCE, HELD, wgsl!("moe_combine")] },
    Shader { stem: "moe_group", variant: "", parts: &[wgsl!("moe_group")] },
    Shader { stem: "moe_sum", variant: "", parts: &[wgsl!("moe_sum")] },
    Shader { stem: "router", variant: "", parts: &[wgsl!("router")] },
    Shader { stem: "gelu_mul", variant: "", parts: &[GELU, wgsl!("gelu_mul")] },
    Shader { stem: "head_norm_rope", variant: "", parts: &[REDUCE, ROWS, wgsl!("head_norm_rope")] },
    Shader { stem: "kv_store", variant: "", parts: &[ROWS, wgsl!("kv_store")] },
    Shader { stem: "attention", variant: "", parts: &[ROWS, SPLITS, wgsl!("attention")] },
    Shader { stem: "attention_join", variant: "", parts: &[ROWS, SPLITS, wgsl!("attention_join")] },
    Shader { stem: "gather_rows", variant: "", parts: &[wgsl!("gather_rows")] },
    Shader { stem: "argmax", variant: "", parts: &[wgsl!("argmax")] },
    Shader { stem: "fill_random", variant: "", parts: &[wgsl!("fill_random")] },
    Shader { stem: "copy_words", variant: "", parts: &[wgsl!("copy_words")] },
];

/// A text that changes with the program's version and with any shader.
pub(crate) fn version() -> String {
    let mut text = env!("CARGO_PKG_VERSION").to_owned();
    for shader in SHADERS {
        text.push_str(&shader.wgsl());
    }
    text
}

/// The text for a key.
pub(super) fn source(key: &PipelineKey) -> String {
    SHADERS
        .iter()
        .find(|s| s.stem == key.stem && s.variant == key.variant)
        .expect("kernels name shaders of the table")
        .wgsl()
}
