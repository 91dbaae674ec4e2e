// needs weights: weights8
// needs rows: Row
// gives override: CLEAR
// gives const: ID_OF
// gives struct: Params
// gives var: params, rows, y, ids
// gives fn: write4, main

// y[t, i] = table[token(t), i] * scale. One workgroup a row. A table larger than a binding comes in parts of rows: each
// dispatch serves the tokens whose row its part holds. A rank's table may have some of the rows only: CLEAR writes zeros
// for the tokens of other ranks, whose results are added. Rows come from common/dense.wgsl or common/packed.wgsl.

override CLEAR: bool = false;

struct Params {
    row_words: u32,
    first_token: u32, // token id of the part's first row
    n_rows: u32,
    table_first: u32, // token id of the table's first row
    table_rows: u32,
    width: u32,
    y_stride: u32,
    scale: f32,
    // Quantized tables only, as in common/product.wgsl.
    in_words: u32,
    rows_per_matrix: u32,
    scale_words: u32,
    zero_words: u32,
    groups: u32,
    first_row: u32,
    first_group: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read> rows: array<Row>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>; // [rows, y_stride]

@group(0) @binding(7) var<storage, read> ids: array<u32>;     // of the rows of the step before

const ID_OF: u32 = 0x80000000u; // set in a token that is the id of a row of the step before

// Writes the first `left` of four values.
fn write4(at: u32, left: u32, values: vec4<f32>) {
    if left > 0u {
        y[at] = values.x;
    }
    if left > 1u {
        y[at + 1u] = values.y;
    }
    if left > 2u {
        y[at + 2u] = values.z;
    }
    if left > 3u {
        y[at + 3u] = values.w;
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = group.y;
    var token = rows[t].token;
    if token >= ID_OF {
        token = ids[token - ID_OF];
    }
    let row = token - params.first_token;
    if row >= params.n_rows {
        if CLEAR && token - params.table_first >= params.table_rows {
            for (var i = lane; i < params.width; i += 64u) {
                y[t * params.y_stride + i] = 0.0;
            }
        }
        return;
    }
    for (var word = lane; word * 8u < params.width; word += 64u) {
        let values = weights8(row, word);
        let at = t * params.y_stride + word * 8u;
        let left = params.width - word * 8u;
        write4(at, left, values[0] * params.scale);
        write4(at + 4u, max(left, 4u) - 4u, values[1] * params.scale);
    }
}
