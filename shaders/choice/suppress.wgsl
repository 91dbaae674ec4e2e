// gives const: MINUS_INFINITY
// gives struct: Params
// gives var: params, suppressed, logits
// gives fn: main

// logits[t, suppressed[i]] = minus infinity: ids that must not be chosen. Those beyond the vocabulary change nothing.

const MINUS_INFINITY: u32 = 0xff800000u;

struct Params {
    width: u32,
    stride: u32, // of logits
    n_ids: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> suppressed: array<u32>;   // [n_ids]
@group(0) @binding(2) var<storage, read_write> logits: array<u32>; // [rows, stride]: bits of f32

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if lane < params.n_ids && suppressed[lane] < params.width {
        logits[group.y * params.stride + suppressed[lane]] = MINUS_INFINITY;
    }
}
