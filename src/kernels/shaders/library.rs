//! The files in `shaders/`.

use super::head::Head;

/// A file of WGSL with its head read.
#[derive(Debug)]
pub(super) struct Snippet {
    /// The file's name without folder and ending.
    pub name: &'static str,
    pub head: Head,
    /// The text behind the head.
    pub wgsl: &'static str,
}

/// All files.
#[derive(Debug)]
pub(super) struct Library {
    /// What stems are made with, in the order in which texts have it.
    pub common: Vec<Snippet>,
    /// Each the last part of its texts: what a kernel is.
    pub stems: Vec<Snippet>,
}

impl Library {
    /// Reads all heads.
    ///
    /// # Panics
    /// Where a head is not of the form that [`Head`] says.
    pub(super) fn read() -> Self {
        let snippets = |files: &[File]| files.iter().map(File::read).collect();
        Library { common: snippets(COMMON), stems: snippets(STEMS) }
    }
}

/// A file as it is.
struct File {
    /// Folder and name, without the ending.
    path: &'static str,
    text: &'static str,
}

impl File {
    fn read(&self) -> Snippet {
        let (head, wgsl) = Head::read(self.text).unwrap_or_else(|why| panic!("shaders/{}.wgsl: {why}", self.path));
        Snippet { name: self.path.rsplit('/').next().unwrap_or(self.path), head, wgsl }
    }
}

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(File { path: $path, text: include_str!(concat!("../../../shaders/", $path, ".wgsl")) }),*]
    };
}

/// WGSL takes declarations in any order, but for `enable`, which comes first: this order is for who reads a text.
const COMMON: &[File] = files![
    "common/enable_f16",
    "common/enable_matrix",
    "common/reduce",
    "common/reduce_subgroups",
    "common/held",
    "common/half",
    "common/gelu",
    "common/product",
    "common/dense",
    "common/packed",
    "common/read_dense",
    "common/read_packed",
    "common/exact_x",
    "common/rounded_x",
    "common/tile",
    "common/lane_tile",
    "common/plain_tile",
    "common/direct_tile",
    "common/dot_tile",
    "common/rows",
    "common/splits",
    "common/kv",
    "common/kv_pack",
    "common/rotate",
    "common/own_heads",
    "common/score_keys",
    "common/read_values",
    "common/sums",
    "common/tile_scores",
    "common/four_sums",
    "common/matrix16",
    "common/matrix8",
    "common/matrix_tile",
    "common/lines16",
    "common/lines8",
    "common/kv_blocks",
    "common/weigh",
    "common/line_sums",
    "common/strips",
    "common/rounded",
    "common/rounding",
    "common/round_quads",
    "common/round_quads_subgroups",
    "common/exact_y",
    "common/rounded_y",
    "common/rounded_ys",
    "common/join_exact",
    "common/join_rounded",
    "common/outputs",
    "common/rounded_outputs",
    "common/choose",
    "common/beside_none",
    "common/beside_choice",
    "common/beside_product",
    "common/block_sum",
    "common/block_sum_subgroups",
];

const STEMS: &[File] = files![
    "product/gelu_mul",
    "product/matmul",
    "product/matmul_grouped",
    "product/matvec",
    "product/sum_shares",
    "rows/copy_words",
    "rows/embed",
    "rows/fill_random",
    "rows/gather_rows",
    "rows/not_finite",
    "norm/add_norm",
    "norm/per_layer_inputs",
    "norm/rms_norm",
    "experts/moe_combine",
    "experts/moe_group",
    "experts/moe_sum",
    "experts/router",
    "attention/attention",
    "attention/attention_join",
    "attention/attention_matrix",
    "attention/attention_tile",
    "attention/head_norm_rope",
    "attention/kv_store",
    "rounding/int8_by_32",
    "rounding/int8_by_16",
    "rounding/f16_by_row",
    "choice/argmax",
    "choice/sample",
    "choice/strip_max",
    "choice/suppress",
];
