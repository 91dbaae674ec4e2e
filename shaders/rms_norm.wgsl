// y[t] = x[t] / sqrt(mean(x[t]^2) + eps) * norms[weight]. One workgroup a row.

struct Params {
    width: u32,
    stride: u32, // of x and y
    weight: u32, // row of norms
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // [rows, stride]
@group(0) @binding(2) var<storage, read> norms: array<f32>;   // [weights, stride]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, stride]

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y * params.stride;
    var squares = 0.0;
    for (var i = lane; i < params.width; i += THREADS) {
        squares += x[row + i] * x[row + i];
    }
    let factor = 1.0 / sqrt(workgroup_sum(lane, squares) / f32(params.width) + params.eps);
    for (var i = lane; i < params.width; i += THREADS) {
        y[row + i] = x[row + i] * factor * norms[params.weight * params.stride + i];
    }
}
