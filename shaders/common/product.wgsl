// part: product
// gives struct: Params
// gives var: params, x
// gives fn: capped

// Parameters of a product with a stack of matrices [matrices, rows_per_matrix, in_features], of which this dispatch sees
// a part: n_matrices from first_matrix on, or, where one matrix is larger than a binding, n_rows of its rows.
struct Params {
    in_words: u32,        // padded in_features / 8
    row_words: u32,       // words of weights or codes in a row
    n_rows: u32,          // output features that this part holds of each of its matrices
    rows_per_matrix: u32, // output features that share one g_idx table: n_rows
    first_matrix: u32,    // experts: number of the part's first matrix
    n_matrices: u32,
    x_stride: u32,        // f32 values between rows of x, a multiple of 4
    x_repeat: u32,        // consecutive rows of y that read the same row of x
    y_stride: u32,
    y_offset: u32,        // column of y that row 0 of the part writes
    scale_words: u32,
    zero_words: u32,
    groups: u32,
    first_row: u32,       // row 0 of in_features in the full matrix
    first_group: u32,
    softcap: f32,         // logits: y = softcap * tanh(y / softcap); 0 for none
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read> x: array<vec4<f32>>;

// The bound of 15 changes nothing in f32 and keeps drivers that compute tanh from exp away from infinity. It would turn
// NaN into a number like any other, and infinity into the cap: both become NaN, so that whoever chooses from the logits
// sees them.
fn capped(value: f32) -> f32 {
    if params.softcap == 0.0 {
        return value;
    }
    let bits = bitcast<u32>(value);
    if (bits & 0x7f800000u) == 0x7f800000u {
        return bitcast<f32>(bits | 0x7fc00000u);
    }
    return params.softcap * tanh(clamp(value / params.softcap, -15.0, 15.0));
}
