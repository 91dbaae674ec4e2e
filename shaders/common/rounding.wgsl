// Rounds (rounded.wgsl) rows that lanes hold by quads (held.wgsl), or block by block where rows are walked. Four lanes
// have a block and two of them the activations whose codes share words: they meet in workgroup memory.

override QUADS: u32 = 256; // THREADS * HELD, or 1 where rows are walked

var<workgroup> magnitudes: array<u32, QUADS>;
var<workgroup> packed: array<u32, QUADS>; // codes of a quad's activations 0 2 1 3

fn put_scale(output: u32, chunk: u32, half: u32, scale: f32, sum: f32) {
    put(output, 3u * chunk + 2u, half, bitcast<u32>(scale));
    put(output, 3u * chunk + 2u, 2u + half, bitcast<u32>(sum));
}

// The first chunk of row t.
fn chunk_of_row(t: u32) -> u32 {
    return t * ((WIDTH + 31u) / 32u);
}

// Quads beyond the row are zeros.
fn round_held(output: u32, t: u32, lane: u32, values: array<vec4<f32>, MAX_HELD>) {
    workgroupBarrier(); // The output before has been made.
    for (var j = 0u; j < HELD; j++) {
        let m = magnitude(values[j]);
        magnitudes[lane + j * THREADS] = max(max(m.x, m.y), max(m.z, m.w));
    }
    workgroupBarrier();
    for (var j = 0u; j < HELD; j++) {
        let codes = vec4<i32>(round(values[j] * step_of(lane + j * THREADS).y));
        packed[lane + j * THREADS] = pack4xI8(codes.xzyw);
    }
    workgroupBarrier();
    for (var j = 0u; j < HELD; j++) {
        let quad = lane + j * THREADS;
        if quad / 4u * 16u >= WIDTH {
            continue;
        }
        let even = packed[quad / 2u * 2u];
        let odd = packed[quad / 2u * 2u + 1u];
        let word = select((even & 0xffffu) | odd << 16u, even >> 16u | (odd & 0xffff0000u), quad % 2u == 1u);
        let chunk = chunk_of_row(t) + quad / 8u;
        put(output, 3u * chunk + quad / 4u % 2u, quad % 4u, word);
        if quad % 4u == 0u {
            var sum = 0;
            for (var i = 0u; i < 4u; i++) {
                sum += dot4I8Packed(packed[quad + i], 0x01010101u);
            }
            let scale = step_of(quad).x;
            put_scale(output, chunk, quad / 4u % 2u, scale, scale * f32(sum));
        }
    }
}

// Scale of a quad's block, and its reciprocal.
fn step_of(quad: u32) -> vec2<f32> {
    let first = quad / 4u * 4u;
    let low = max(magnitudes[first], magnitudes[first + 1u]);
    return step_of_largest(bitcast<f32>(max(low, max(magnitudes[first + 2u], magnitudes[first + 3u]))));
}

fn round_block(output: u32, t: u32, block: u32, v: array<vec4<f32>, 4>) {
    let r = rounded16(v[0], v[1], v[2], v[3]);
    let chunk = chunk_of_row(t) + block / 2u;
    for (var i = 0u; i < 4u; i++) {
        put(output, 3u * chunk + block % 2u, i, r.codes[i]);
    }
    put_scale(output, chunk, block % 2u, r.scale, r.sum);
}
