// part: reading when packed
// needs product: params
// needs weights: BITS, RUN, codes, decode8, decode8_at, group_of, scale_of, words32, zero_of
// gives struct: Read8, Read32
// gives fn: read8, weights_of, read32, weights_of32

// Eight quantized weights in two steps, so that what is read from storage can wait in registers.

struct Read8 {
    packed: vec2<u32>,
    scale: f32,
    zero: f32,
}

// What weights [row, 8 * word .. 8 * word + 8] are made from.
fn read8(row: u32, word: u32) -> Read8 {
    var read: Read8;
    if BITS == 8u {
        let at = row * params.row_words + word * 2u;
        let four = codes[at / 4u];
        read.packed = select(four.xy, four.zw, at % 4u == 2u);
    } else {
        let at = row * params.row_words + word;
        read.packed = vec2(codes[at / 4u][at % 4u], 0u);
    }
    if RUN >= 8u {
        let k = word * 8u;
        let group = group_of(row, k);
        read.scale = scale_of(row, group);
        read.zero = zero_of(row, group);
    }
    return read;
}

// They, times `factor`.
fn weights_of(read: Read8, row: u32, word: u32, factor: f32) -> array<vec4<f32>, 2> {
    if RUN >= 8u {
        return decode8(read.packed, read.scale * factor, read.zero);
    }
    let w = decode8_at(row, word * 8u, read.packed);
    return array(w[0] * factor, w[1] * factor);
}

// A chunk of 32 weights, likewise.
struct Read32 {
    packed: array<vec2<u32>, 4>,
    scale: f32,
    zero: f32,
}

fn read32(row: u32, chunk: u32) -> Read32 {
    var read: Read32;
    read.packed = words32(row, chunk);
    if RUN >= 32u {
        let group = group_of(row, chunk * 32u);
        read.scale = scale_of(row, group);
        read.zero = zero_of(row, group);
    }
    return read;
}

// Weights 8 * i to 8 * i + 8 of the chunk, times `factor`, a power of two. A code of 4 bits stands where it is in the
// mantissa of 2^23: both difference and product are as exact as those of the code itself, without a conversion.
fn weights_of32(read: Read32, row: u32, chunk: u32, i: u32, factor: f32) -> array<vec4<f32>, 2> {
    if RUN < 32u {
        let w = decode8_at(row, chunk * 32u + i * 8u, read.packed[i]);
        return array(w[0] * factor, w[1] * factor);
    }
    if BITS == 8u {
        return decode8(read.packed[i], read.scale * factor, read.zero);
    }
    let places = vec4(1.0, 16.0, 256.0, 4096.0);
    let zero = 8388608.0 + read.zero * places;
    let scale = (read.scale * factor) / places;
    let mask = vec4(0xfu, 0xf0u, 0xf00u, 0xf000u);
    let low = bitcast<vec4<f32>>((vec4(read.packed[i].x) & mask) | vec4(0x4b000000u));
    let high = bitcast<vec4<f32>>((vec4(read.packed[i].x >> 16u) & mask) | vec4(0x4b000000u));
    return array(scale * (low - zero), scale * (high - zero));
}
