// part: round_quads when subgroups
// needs reduce: THREADS
// needs held: WIDTH
// needs rounded: magnitude, step_of_largest
// needs rounding: place_of, put_scale
// needs normed: put
// gives fn: round_quads

// As round_quads.wgsl, by subgroups: the lanes that meet are neighbours.

// The lanes' quads j; beyond the row they are zeros.
fn round_quads(output: u32, t: u32, lane: u32, j: u32, value: vec4<f32>) {
    let m = magnitude(value);
    var largest = max(max(m.x, m.y), max(m.z, m.w));
    largest = max(largest, subgroupShuffleXor(largest, 1u));
    largest = max(largest, subgroupShuffleXor(largest, 2u));
    let step = step_of_largest(bitcast<f32>(largest));
    let codes = vec4<i32>(round(value * step.y));
    var sum = codes.x + codes.y + codes.z + codes.w;
    sum += subgroupShuffleXor(sum, 1u);
    sum += subgroupShuffleXor(sum, 2u);
    let own = pack4xI8(codes.xzyw); // activations 0 2 1 3
    let other = subgroupShuffleXor(own, 1u);
    let block = (lane + j * THREADS) / 4u;
    if block * 16u >= WIDTH {
        return;
    }
    let word = select((own & 0xffffu) | (other << 16u), (other >> 16u) | (own & 0xffff0000u), lane % 2u == 1u);
    put(output, place_of(t, block % 2u, block), lane % 4u, word);
    if lane % 4u == 0u {
        put_scale(output, t, block, step.x, step.x * f32(sum));
    }
}
