// part: round_quads
// needs reduce: THREADS
// needs held: WIDTH
// needs rounded: magnitude, step_of_largest
// needs rounding: place_of, put_scale
// needs normed: put
// gives var: magnitudes, packed
// gives fn: round_quads

// Rounds rows that lanes hold by quads (held.wgsl): four lanes have a block and two of them the activations whose codes
// share words. They meet in workgroup memory.

var<workgroup> magnitudes: array<u32, THREADS>;
var<workgroup> packed: array<u32, THREADS>; // codes of a quad's activations 0 2 1 3

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
    let word = select((even & 0xffffu) | (odd << 16u), (even >> 16u) | (odd & 0xffff0000u), lane % 2u == 1u);
    put(output, place_of(t, block % 2u, block), lane % 4u, word);
    if lane % 4u == 0u {
        let sum = dot4I8Packed(packed[lane], 0x01010101u) + dot4I8Packed(packed[lane + 1u], 0x01010101u)
            + dot4I8Packed(packed[lane + 2u], 0x01010101u) + dot4I8Packed(packed[lane + 3u], 0x01010101u);
        put_scale(output, t, block, step.x, step.x * f32(sum));
    }
}
