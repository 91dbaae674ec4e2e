// needs rounded: rounded16
// gives struct: Params
// gives var: params, x, rounded
// gives fn: main

// x rounded to int8 (common/rounded.wgsl): a lane makes a block of 16.

struct Params {
    stride: u32, // of x
    blocks: u32, // of a row of x
    chunks: u32, // of a rounded row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // [rows, stride / 4]
@group(0) @binding(2) var<storage, read_write> rounded: array<vec4<u32>>; // [rows, 3, chunks]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.blocks {
        return;
    }
    let at = id.y * (params.stride / 4u) + 4u * id.x;
    let r = rounded16(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
    let to = 3u * id.y * params.chunks + id.x / 2u;
    rounded[to + id.x % 2u * params.chunks] = r.codes;
    rounded[to + 2u * params.chunks][id.x % 2u] = bitcast<u32>(r.scale);
    rounded[to + 2u * params.chunks][2u + id.x % 2u] = bitcast<u32>(r.sum);
}
