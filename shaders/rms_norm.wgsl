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

fn held(lane: u32, row: u32, weight: u32) {
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
        if is_held(lane, j) {
            y[row + quad_of(lane, j)] = values[j] * factor * factors[j];
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
    if HELD > 0u {
        held(lane, group.y * quads, params.weight * quads);
    } else {
        walked(lane, group.y * quads, params.weight * quads);
    }
}
