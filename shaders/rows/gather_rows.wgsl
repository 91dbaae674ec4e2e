// gives struct: Params
// gives var: params, x, chosen, y
// gives fn: main

// y[i] = x[chosen[i]]: the rows that want logits. A lane copies four values.

struct Params {
    width: u32,
    stride: u32, // of x and y
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;       // [rows, stride / 4]
@group(0) @binding(2) var<storage, read> chosen: array<u32>;        // [n]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [n, stride / 4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let quad = group.x * 64u + lane;
    let source = chosen[group.y] * (params.stride / 4u) + quad;
    let to = group.y * (params.stride / 4u) + quad;
    if 4u * quad + 4u <= params.width {
        y[to] = x[source];
    } else {
        for (var i = 4u * quad; i < params.width; i++) {
            y[to][i % 4u] = x[source][i % 4u];
        }
    }
}
