// y[t, i] = gelu(gate[t, i]) * up[t, i], gelu(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).

struct Params {
    width: u32,
    stride: u32,    // of gate and y
    up_stride: u32,
    up_offset: u32, // column of up that belongs to column 0
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate: array<f32>;    // [rows, stride]
@group(0) @binding(2) var<storage, read> up: array<f32>;      // [rows, up_stride]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, stride]

// The bound of 15 changes nothing in f32 and keeps drivers that compute tanh from exp away from infinity.
fn gelu(x: f32) -> f32 {
    return 0.5 * x * (1.0 + tanh(clamp(0.7978845608028654 * (x + 0.044715 * x * x * x), -15.0, 15.0)));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group.x * 64u + lane;
    if i < params.width {
        let at = group.y * params.stride + i;
        y[at] = gelu(gate[at]) * up[group.y * params.up_stride + params.up_offset + i];
    }
}
