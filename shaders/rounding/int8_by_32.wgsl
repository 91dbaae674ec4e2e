// gives override: INTERLEAVED
// gives struct: Params
// gives var: params, x, quantized
// gives fn: main

// Rows of x as int8 in blocks of 32 with a scale each: x[t, k] is about scale * q, where the block's largest value is 127
// scales. A row holds x_stride / 16 quads of int8, then its scales. A lane a block.
//
// INTERLEAVED: of each eight values, those of even numbers come first, as codes of 4 bits come out of a word.

override INTERLEAVED: bool = true;

struct Params {
    blocks: u32, // of a row, padding included, which is zero
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> quantized: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let block = group.x * 64u + lane;
    if block >= params.blocks {
        return;
    }
    let start = (group.y * params.blocks + block) * 8u;
    let row = group.y * (params.blocks * 8u + (params.blocks + 3u) / 4u * 4u);
    // As integers absolute values compare alike, and NaN is the largest.
    var most = vec4(0u);
    for (var i = 0u; i < 8u; i++) {
        most = max(most, bitcast<vec4<u32>>(x[start + i]) & vec4(0x7fffffffu));
    }
    let largest = bitcast<f32>(max(max(most.x, most.y), max(most.z, most.w)));
    // Smaller numbers would have no finite inverse.
    let inverse = select(127.0 / largest, 0.0, largest < 1e-30);
    for (var i = 0u; i < 8u; i += 2u) {
        let a = vec4<i32>(round(x[start + i] * inverse));
        let b = vec4<i32>(round(x[start + i + 1u] * inverse));
        let to = row + block * 8u + i;
        if INTERLEAVED {
            quantized[to] = pack4xI8(vec4(a.xz, b.xz));
            quantized[to + 1u] = pack4xI8(vec4(a.yw, b.yw));
        } else {
            quantized[to] = pack4xI8(a);
            quantized[to + 1u] = pack4xI8(b);
        }
    }
    quantized[row + params.blocks * 8u + block] = bitcast<u32>(largest / 127.0);
}
