// needs gelu: gelu
// gives struct: Params
// gives var: params, gate, up, y
// gives fn: main

// y[t, i] = gelu(gate[t, i]) * up[t, i].

struct Params {
    width: u32,
    gate_stride: u32,
    up_stride: u32,
    up_offset: u32, // column of up that belongs to column 0
    y_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate: array<f32>;    // [rows, gate_stride]
@group(0) @binding(2) var<storage, read> up: array<f32>;      // [rows, up_stride]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, y_stride]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = group.x * 64u + lane;
    if i < params.width {
        let factor = up[group.y * params.up_stride + params.up_offset + i];
        y[group.y * params.y_stride + i] = gelu(gate[group.y * params.gate_stride + i]) * factor;
    }
}
