// gives override: TOP_K
// gives struct: Params
// gives var: params, products, weights, ids, sum
// gives fn: main

// sum[t, i] = sum_s c[t, s] * d[t * top_k + s, i] over the slots s whose expert this rank holds, in slot order. c are the
// router's weights, d the products of the chosen experts; those of other ranks' experts are left over from earlier steps.

override TOP_K: u32 = 2;

struct Params {
    width: u32,
    stride: u32,       // of products and sum
    first_expert: u32,
    n_experts: u32,    // that this rank holds
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> products: array<f32>;  // [rows * top_k, stride]
@group(0) @binding(2) var<storage, read> weights: array<f32>;   // [rows, top_k]
@group(0) @binding(3) var<storage, read> ids: array<u32>;       // [rows, top_k]
@group(0) @binding(4) var<storage, read_write> sum: array<f32>; // [rows, stride]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group.x * 64u + lane;
    if i >= params.width {
        return;
    }
    var total = 0.0;
    for (var s = 0u; s < TOP_K; s++) {
        let slot = group.y * TOP_K + s;
        if ids[slot] - params.first_expert < params.n_experts {
            total += weights[slot] * products[slot * params.stride + i];
        }
    }
    sum[group.y * params.stride + i] = total;
}
