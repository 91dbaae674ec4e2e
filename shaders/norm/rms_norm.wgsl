// needs reduce: THREADS, workgroup_sum
// needs held: HELD, MAX_HELD, WIDTH, is_held, quad_of, rms_factor, squares_of
// needs normed: ROUNDED, round_block, round_quads
// gives struct: Params
// gives var: params, x, norms, y
// gives fn: held, walked, main

// y[t] = x[t] / sqrt(mean(x[t]^2) + eps) * norms[weight]. One workgroup a row.

struct Params {
    stride: u32, // of x and y
    weight: u32, // row of norms
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;       // [rows, stride / 4]
@group(0) @binding(2) var<storage, read> norms: array<vec4<f32>>;   // [weights, stride / 4]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [rows, stride / 4]

fn held(lane: u32, t: u32, row: u32, weight: u32) {
    var values: array<vec4<f32>, MAX_HELD>;
    var factors: array<vec4<f32>, MAX_HELD>;
    for (var j = 0u; j < HELD; j++) {
        values[j] = x[row + quad_of(lane, j)];
        factors[j] = norms[weight + quad_of(lane, j)];
    }
    var squares = 0.0;
    for (var j = 0u; j < HELD; j++) {
        squares += squares_of(lane, j, values[j]);
    }
    let factor = rms_factor(workgroup_sum(lane, squares));
    for (var j = 0u; j < HELD; j++) {
        let normed = select(vec4(0.0), values[j] * factor * factors[j], is_held(lane, j));
        if is_held(lane, j) {
            y[row + quad_of(lane, j)] = normed;
        }
        if ROUNDED > 0u {
            round_quads(0u, t, lane, j, normed);
        }
    }
}

fn walked(lane: u32, row: u32, weight: u32) {
    var squares = 0.0;
    for (var i = lane; i < WIDTH; i += THREADS) {
        let value = x[row + i / 4u][i % 4u];
        squares += value * value;
    }
    let factor = rms_factor(workgroup_sum(lane, squares));
    for (var i = lane; i < WIDTH; i += THREADS) {
        let q = i / 4u;
        y[row + q][i % 4u] = x[row + q][i % 4u] * factor * norms[weight + q][i % 4u];
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let quads = params.stride / 4u;
    let row = group.y * quads;
    if HELD > 0u {
        held(lane, group.y, row, params.weight * quads);
        return;
    }
    walked(lane, row, params.weight * quads);
    if ROUNDED > 0u {
        storageBarrier(); // Lanes read what others have written.
        for (var block = lane; block < (WIDTH + 15u) / 16u; block += THREADS) {
            let at = row + 4u * block;
            round_block(0u, group.y, block, array(y[at], y[at + 1u], y[at + 2u], y[at + 3u]));
        }
    }
}
