// part: weights when packed
// needs half: bf16_value, f16_value
// needs around: params
// gives override: BITS, SCALE_DTYPE, GROUP_SIZE, PER_ROW, RUN, HAS_ZEROS
// gives var: codes, scales, zeros, g_idx
// gives fn: scale_of, zero_of, group_of, decode8, decode8_at, decode4_at, decode1_at, weights8, words32, weights32, codes8
// gives fn: product32

// Group-wise quantized weights: w[n, k] = scale[n, g] * (code[n, k] - zero[n, g]), g = group of input row k.
// Group numbers count from row 0 of the full matrix; first_group is the first one stored, so that a shard which starts
// inside a group reads the right scales.

override BITS: u32 = 4;          // Of a code and of a zero point: 4 or 8.
override SCALE_DTYPE: u32 = 0;   // 0: f16, 1: bf16, 2: f32
override GROUP_SIZE: u32 = 32;   // Sequential groups only.
override PER_ROW: bool = false;  // Act-order: the group of each input row comes from g_idx.
override RUN: u32 = 32;          // Input rows from a multiple of it on that are sure to share a group: 32, 8 or 1.
override HAS_ZEROS: bool = false;

@group(0) @binding(1) var<storage, read> codes: array<vec4<u32>>; // [rows, row_words / 4], 32 / BITS codes a word, first lowest
@group(0) @binding(2) var<storage, read> scales: array<u32>; // [rows, scale_words]
@group(0) @binding(3) var<storage, read> zeros: array<u32>;  // [rows, zero_words], 32 / BITS zero points a word
@group(0) @binding(4) var<storage, read> g_idx: array<u32>;  // [matrices, padded in_features]

fn scale_of(row: u32, group: u32) -> f32 {
    let at = row * params.scale_words;
    if SCALE_DTYPE == 2u {
        return bitcast<f32>(scales[at + group]);
    }
    let bits = (scales[at + group / 2u] >> (16u * (group % 2u))) & 0xffffu;
    if SCALE_DTYPE == 1u {
        return bf16_value(bits);
    }
    return f16_value(bits);
}

fn zero_of(row: u32, group: u32) -> f32 {
    if HAS_ZEROS {
        let word = zeros[row * params.zero_words + group / (32u / BITS)];
        return f32((word >> (BITS * (group % (32u / BITS)))) & ((1u << BITS) - 1u));
    }
    return f32(1u << (BITS - 1u));
}

// Padding beyond the last input row stays in the last group: its activations are zero.
fn group_of(row: u32, k: u32) -> u32 {
    if PER_ROW {
        return g_idx[(row / params.rows_per_matrix) * params.in_words * 8u + k];
    }
    return min((params.first_row + k) / GROUP_SIZE - params.first_group, params.groups - 1u);
}

// Eight codes: of 8 bits in both words, of 4 bits in the first.
fn decode8(packed: vec2<u32>, scale: f32, zero: f32) -> array<vec4<f32>, 2> {
    if BITS == 8u {
        let first = vec4<f32>((vec4(packed.x) >> vec4(0u, 8u, 16u, 24u)) & vec4(255u));
        let second = vec4<f32>((vec4(packed.y) >> vec4(0u, 8u, 16u, 24u)) & vec4(255u));
        return array(scale * (first - zero), scale * (second - zero));
    }
    let low = vec4<f32>((vec4(packed.x) >> vec4(0u, 4u, 8u, 12u)) & vec4(15u));
    let high = vec4<f32>((vec4(packed.x) >> vec4(16u, 20u, 24u, 28u)) & vec4(15u));
    return array(scale * (low - zero), scale * (high - zero));
}

// The eight weights whose first input row is k.
fn decode8_at(row: u32, k: u32, packed: vec2<u32>) -> array<vec4<f32>, 2> {
    if RUN >= 8u {
        let group = group_of(row, k);
        return decode8(packed, scale_of(row, group), zero_of(row, group));
    }
    let high = select(packed.x >> 16u, packed.y, BITS == 8u);
    return array(decode4_at(row, k, packed.x), decode4_at(row, k + 4u, high));
}

// The four weights whose first input row is k, each of its own group; their codes are the word's lowest.
fn decode4_at(row: u32, k: u32, word: u32) -> vec4<f32> {
    return vec4(
        decode1_at(row, k, word),
        decode1_at(row, k + 1u, word >> BITS),
        decode1_at(row, k + 2u, word >> (2u * BITS)),
        decode1_at(row, k + 3u, word >> (3u * BITS)),
    );
}

fn decode1_at(row: u32, k: u32, word: u32) -> f32 {
    let group = group_of(row, k);
    return scale_of(row, group) * (f32(word & ((1u << BITS) - 1u)) - zero_of(row, group));
}

// Weights [row, 8 * word .. 8 * word + 8].
fn weights8(row: u32, word: u32) -> array<vec4<f32>, 2> {
    if BITS == 8u {
        let at = row * params.row_words + word * 2u;
        let four = codes[at / 4u];
        return decode8_at(row, word * 8u, select(four.xy, four.zw, at % 4u == 2u));
    }
    let at = row * params.row_words + word;
    return decode8_at(row, word * 8u, vec2(codes[at / 4u][at % 4u], 0u));
}

// The words of weights [row, 32 * chunk .. 32 * chunk + 32], eight codes an entry.
fn words32(row: u32, chunk: u32) -> array<vec2<u32>, 4> {
    if BITS == 8u {
        let at = row * (params.row_words / 4u) + chunk * 2u;
        let low = codes[at];
        let high = codes[at + 1u];
        return array(low.xy, low.zw, high.xy, high.zw);
    }
    let packed = codes[row * (params.row_words / 4u) + chunk];
    return array(vec2(packed.x, 0u), vec2(packed.y, 0u), vec2(packed.z, 0u), vec2(packed.w, 0u));
}

// Weights [row, 32 * chunk .. 32 * chunk + 32].
fn weights32(row: u32, chunk: u32) -> array<vec4<f32>, 8> {
    let packed = words32(row, chunk);
    let k = chunk * 32u;
    if RUN >= 32u {
        let group = group_of(row, k);
        let scale = scale_of(row, group);
        let zero = zero_of(row, group);
        let a = decode8(packed[0], scale, zero);
        let b = decode8(packed[1], scale, zero);
        let c = decode8(packed[2], scale, zero);
        let d = decode8(packed[3], scale, zero);
        return array(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]);
    }
    let a = decode8_at(row, k, packed[0]);
    let b = decode8_at(row, k + 8u, packed[1]);
    let c = decode8_at(row, k + 16u, packed[2]);
    let d = decode8_at(row, k + 24u, packed[3]);
    return array(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]);
}

// The sum of eight products of codes, less the zero point, with x.
fn codes8(packed: vec2<u32>, zero: f32, x0: vec4<f32>, x1: vec4<f32>) -> f32 {
    let w = decode8(packed, 1.0, zero);
    return dot(w[0], x0) + dot(w[1], x1);
}

// The sum of 32 products: weights [row, 32 * chunk ..] with x. Of one group, they are scaled together.
fn product32(row: u32, chunk: u32, x: array<vec4<f32>, 8>) -> f32 {
    if RUN >= 32u {
        let packed = words32(row, chunk);
        let group = group_of(row, chunk * 32u);
        let zero = zero_of(row, group);
        return scale_of(row, group) * (codes8(packed[0], zero, x[0], x[1]) + codes8(packed[1], zero, x[2], x[3])
            + codes8(packed[2], zero, x[4], x[5]) + codes8(packed[3], zero, x[6], x[7]));
    }
    let w = weights32(row, chunk);
    return dot(w[0], x[0]) + dot(w[1], x[1]) + dot(w[2], x[2]) + dot(w[3], x[3])
        + dot(w[4], x[4]) + dot(w[5], x[5]) + dot(w[6], x[6]) + dot(w[7], x[7]);
}
