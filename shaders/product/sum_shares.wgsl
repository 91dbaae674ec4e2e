// gives override: SHARES
// gives struct: Params
// gives var: params, parts, row_count, y
// gives fn: main

// y[t, n] = sum_s parts[s, t, n]: what shares of the input features have added up apart, in order.

override SHARES: u32 = 2;

struct Params {
    width: u32,
    rows: u32,     // of a share
    y_stride: u32,
    y_offset: u32, // column of y that column 0 of the parts goes to
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>;     // [SHARES, rows, width]
@group(0) @binding(2) var<storage, read> row_count: array<u32>; // [0]: rows of y
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let n = group.x * 64u + lane;
    let t = group.y;
    if n >= params.width || t >= row_count[0] {
        return;
    }
    var sum = 0.0;
    for (var s = 0u; s < SHARES; s++) {
        sum += parts[(s * params.rows + t) * params.width + n];
    }
    y[t * params.y_stride + params.y_offset + n] = sum;
}
