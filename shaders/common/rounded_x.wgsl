// part: activations when rounded, rounding
// needs product: params
// needs weights: BITS, codes, group_of, scale_of, zero_of
// needs around: ROLLED
// gives struct: Chunk, Codes
// gives var: rounded_x
// gives fn: chunk_of, dot16, in_order, dot16_wide, codes_of, times, rolled

// A chunk of 32 activations that rounded.wgsl has made, times codes of one group: integer products, four a dot4I8Packed.
// Their sums are exact: 32 * 127 * 255 is far below 2^31.

@group(0) @binding(9) var<storage, read> rounded_x: array<vec4<u32>>; // [rows, x_stride / 4]

struct Chunk {
    low: vec4<u32>,
    high: vec4<u32>,
    scales: vec4<f32>,
}

fn chunk_of(row: u32, chunk: u32) -> Chunk {
    let chunks = params.x_stride / 12u;
    let at = 3u * row * chunks + chunk;
    return Chunk(rounded_x[at], rounded_x[at + chunks], bitcast<vec4<f32>>(rounded_x[at + 2u * chunks]));
}

// The sum of 16 products with codes of 4 bits.
fn dot16(packed: vec2<u32>, x: vec4<u32>) -> i32 {
    let even = packed & vec2(0x0f0f0f0fu);
    let odd = (packed >> vec2(4u)) & vec2(0x0f0f0f0fu);
    return dot4I8Packed(even.x, x.x) + dot4I8Packed(odd.x, x.y) + dot4I8Packed(even.y, x.z) + dot4I8Packed(odd.y, x.w);
}

// Eight activations in two words by number: 0 1 2 3, then 4 5 6 7.
fn in_order(even: u32, odd: u32) -> vec2<u32> {
    let low = ((vec2(even, odd) & vec2(0xffu)) << vec2(0u, 8u)) | ((vec2(even, odd) & vec2(0xff00u)) << vec2(8u, 16u));
    let high = (vec2(even, odd) >> vec2(16u)) & vec2(0xffu);
    let last = (vec2(even, odd) >> vec2(24u));
    return vec2(low.x | low.y, high.x | (high.y << 8u) | (last.x << 16u) | (last.y << 24u));
}

// The sum of 16 products with codes of 8 bits, less 128 each so that they are signed.
fn dot16_wide(packed: vec4<u32>, x: vec4<u32>) -> i32 {
    let w = packed ^ vec4(0x80808080u);
    let first = in_order(x.x, x.y);
    let second = in_order(x.z, x.w);
    return dot4I8Packed(w.x, first.x) + dot4I8Packed(w.y, first.y) + dot4I8Packed(w.z, second.x)
        + dot4I8Packed(w.w, second.y);
}

// A chunk of codes, of 8 bits in both vec4.
struct Codes {
    first: vec4<u32>,
    second: vec4<u32>,
    scale: f32,
    zero: f32,
}

fn codes_of(row: u32, chunk: u32) -> Codes {
    let group = group_of(row, chunk * 32u);
    let at = row * (params.row_words / 4u) + chunk * (BITS / 4u);
    var w = Codes(codes[at], vec4(0u), scale_of(row, group), zero_of(row, group));
    if BITS == 8u {
        w.second = codes[at + 1u];
    }
    return w;
}

fn times(w: Codes, c: Chunk) -> f32 {
    if ROLLED {
        return w.scale * rolled(w, c);
    }
    if BITS == 8u {
        let sums = vec2<f32>(vec2(dot16_wide(w.first, c.low), dot16_wide(w.second, c.high)));
        return w.scale * (dot(sums, c.scales.xy) - (w.zero - 128.0) * (c.scales.z + c.scales.w));
    }
    let sums = vec2<f32>(vec2(dot16(w.first.xy, c.low), dot16(w.first.zw, c.high)));
    return w.scale * (dot(sums, c.scales.xy) - w.zero * (c.scales.z + c.scales.w));
}

// The scaled sum of a chunk's products, eight at a time in a loop that compilers cannot unroll: devices that have no
// products of int8 unpack each byte into a register.
fn rolled(w: Codes, c: Chunk) -> f32 {
    var sums = vec2(0i);
    for (var i = 0u; i < min(params.in_words, 4u); i++) {
        let x = select(c.low, c.high, vec4(i >= 2u));
        let pair = select(x.xy, x.zw, vec2(i % 2u == 1u));
        var sum = 0i;
        if BITS == 8u {
            let four = select(w.first, w.second, vec4(i >= 2u)) ^ vec4(0x80808080u);
            let two = select(four.xy, four.zw, vec2(i % 2u == 1u));
            let y = in_order(pair.x, pair.y);
            sum = dot4I8Packed(two.x, y.x) + dot4I8Packed(two.y, y.y);
        } else {
            let word = w.first[i];
            sum = dot4I8Packed(word & 0x0f0f0f0fu, pair.x) + dot4I8Packed((word >> 4u) & 0x0f0f0f0fu, pair.y);
        }
        sums += select(vec2(sum, 0i), vec2(0i, sum), vec2(i >= 2u));
    }
    let zero = select(w.zero, w.zero - 128.0, BITS == 8u);
    return dot(vec2<f32>(sums), c.scales.xy) - zero * (c.scales.z + c.scales.w);
}
