//! Every kernel on a device against its twin in `reference::ops`. Inputs come from fixed seeds, or from fresh ones where
//! results are compared in bits; tolerances come from lengths and epsilon; outputs are surrounded by guard words. Without a
//! GPU, lavapipe runs all of it.

mod common;

mod kernels {
    mod add_norm;
    mod argmax;
    mod attention;
    mod attention_join;
    mod attention_matrix;
    mod attention_tile;
    mod copy_words;
    mod embed;
    mod experts;
    mod f16_by_row;
    mod fill_random;
    mod gather_rows;
    mod gelu_mul;
    mod head_norm_rope;
    mod int8_by_16;
    mod int8_by_32;
    mod kv_store;
    mod matmul;
    mod matmul_grouped;
    mod matvec;
    mod moe_combine;
    mod moe_group;
    mod moe_sum;
    mod not_finite;
    mod per_layer_inputs;
    mod planted;
    mod planted_attention;
    mod planted_quartets;
    mod planted_rest;
    mod planted_rounded;
    mod planted_shards;
    mod probes;
    mod product;
    mod real_shapes;
    mod rms_norm;
    mod rounded;
    mod rounded_tiles;
    mod rounding;
    mod router;
    mod sample;
    mod strip_max;
    mod sum_shares;
    mod suppress;
    mod two_rows;
}
