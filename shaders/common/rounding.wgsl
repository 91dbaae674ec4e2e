// part: rounding
// needs held: WIDTH
// needs rounded: rounded16
// needs normed: put
// gives fn: place_of, put_scale, in_row, round_block

// Where rounded rows stand (rounded.wgsl), and the way there block by block, for rows that are walked.

// The vec4 for a block's chunk in a plane of row t.
fn place_of(t: u32, plane: u32, block: u32) -> u32 {
    return (3u * t + plane) * ((WIDTH + 31u) / 32u) + block / 2u;
}

fn put_scale(output: u32, t: u32, block: u32, scale: f32, sum: f32) {
    let at = place_of(t, 2u, block);
    put(output, at, block % 2u, bitcast<u32>(scale));
    put(output, at, 2u + block % 2u, bitcast<u32>(sum));
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
