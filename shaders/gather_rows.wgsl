// y[i] = x[chosen[i]]: the rows that want logits. One workgroup a row.

struct Params {
    width: u32,
    stride: u32, // of x and y
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // [rows, stride]
@group(0) @binding(2) var<storage, read> chosen: array<u32>;  // [n]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n, stride]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var i = lane; i < params.width; i += 64u) {
        y[group.y * params.stride + i] = x[chosen[group.y] * params.stride + i];
    }
}
