// needs reduce: THREADS, workgroup_sum
// gives struct: Params
// gives var: params, context, tokens, norm, y
// gives fn: main

// The per-layer inputs of E2B and E4B, all layers side by side, n values each:
// y[t, l] = (rms(context[t, l] * scale) * norm + tokens[t, l]) / sqrt(2), scale = hidden^-0.5.
// context is the product with per_layer_model_projection, tokens the embedding's rows times sqrt(n).
// One workgroup a row and layer.

struct Params {
    n: u32,
    stride: u32, // of context, tokens and y
    scale: f32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> context: array<f32>; // [rows, stride]
@group(0) @binding(2) var<storage, read> tokens: array<f32>;  // [rows, stride]
@group(0) @binding(3) var<storage, read> norm: array<f32>;    // [n]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [rows, stride]

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.y * params.stride + group.x * params.n;
    var squares = 0.0;
    for (var i = lane; i < params.n; i += THREADS) {
        let value = context[at + i] * params.scale;
        squares += value * value;
    }
    let factor = 1.0 / sqrt(workgroup_sum(lane, squares) / f32(params.n) + params.eps);
    for (var i = lane; i < params.n; i += THREADS) {
        let normed = context[at + i] * params.scale * factor * norm[i];
        y[at + i] = (normed + tokens[at + i]) * 0.70710678118654752;
    }
}
