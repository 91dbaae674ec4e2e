// Rounds (rounded.wgsl) rows that lanes hold by quads (held.wgsl), or block by block where rows are walked. Four lanes
// have a block and two of them the activations whose codes share words: they meet in workgroup memory.

var<workgroup> magnitudes: array<u32, THREADS>;
var<workgroup> packed: array<u32, THREADS>; // codes of a quad's activations 0 2 1 3

// The vec4 for a block's chunk in a plane of row t.
fn place_of(t: u32, plane: u32, block: u32) -> u32 {
    return (3u * t + plane) * ((WIDTH + 31u) / 32u) + block / 2u;
}

fn put_scale(output: u32, t: u32, block: u32, scale: f32, sum: f32) {
    let at = place_of(t, 2u, block);
    put(output, at, block % 2u, bitcast<u32>(scale));
    put(output, at, 2u + block % 2u, bitcast<u32>(sum));
}

// The lanes' quads j; beyond the row they are zeros.
fn round_quads(output: u32, t: u32, lane: u32, j: u32, value: vec4<f32>) {
    let m = magnitude(value);
    workgroupBarrier(); // What was rounded before has been read.
    magnitudes[lane] = max(max(m.x, m.y), max(m.z, m.w));
    workgroupBarrier();
    let first = lane / 4u * 4u;
    let low = max(magnitudes[first], magnitudes[first + 1u]);
    let step = step_of_largest(bitcast<f32>(max(low, max(magnitudes[first + 2u], magnitudes[first + 3u]))));
    let codes = vec4<i32>(round(value * step.y));
    packed[lane] = pack4xI8(codes.xzyw);
    workgroupBarrier();
    let block = (lane + j * THREADS) / 4u;
    if block * 16u >= WIDTH {
        return;
    }
    let even = packed[lane / 2u * 2u];
    let odd = packed[lane / 2u * 2u + 1u];
    let word = select((even & 0xffffu) | odd << 16u, even >> 16u | (odd & 0xffff0000u), lane % 2u == 1u);
    put(output, place_of(t, block % 2u, block), lane % 4u, word);
    if lane % 4u == 0u {
        let sum = dot4I8Packed(packed[lane], 0x01010101u) + dot4I8Packed(packed[lane + 1u], 0x01010101u)
            + dot4I8Packed(packed[lane + 2u], 0x01010101u) + dot4I8Packed(packed[lane + 3u], 0x01010101u);
        put_scale(output, t, block, step.x, step.x * f32(sum));
    }
}

// Four values from column `at` on; those beyond the row are 0.
fn in_row(v: vec4<f32>, at: u32) -> vec4<f32> {
    return select(vec4(0.0), v, vec4(at) + vec4(0u, 1u, 2u, 3u) < vec4(WIDTH));
}

fn round_block(output: u32, t: u32, block: u32, v: array<vec4<f32>, 4>) {
    let at = 16u * block;
    let r = rounded16(in_row(v[0], at), in_row(v[1], at + 4u), in_row(v[2], at + 8u), in_row(v[3], at + 12u));
    for (var i = 0u; i < 4u; i++) {
        put(output, place_of(t, block % 2u, block), i, r.codes[i]);
    }
    put_scale(output, t, block, r.scale, r.sum);
}
