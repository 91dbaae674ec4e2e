// Group-wise quantized weights: w[n, k] = scale[n, g] * (code[n, k] - zero[n, g]), g = group of input row k.
// Group numbers count from row 0 of the full matrix; first_group is the first one stored, so that a shard which starts
// inside a group reads the right scales.

override SCALE_DTYPE: u32 = 0;   // 0: f16, 1: bf16, 2: f32
override GROUP_SIZE: u32 = 32;   // Sequential groups only.
override PER_ROW: bool = false;  // Act-order: the group of each input row comes from g_idx.
override HAS_ZEROS: bool = false;

@group(0) @binding(1) var<storage, read> codes: array<u32>;  // [rows, row_words], 8 codes a word, first in the low bits
@group(0) @binding(2) var<storage, read> scales: array<u32>; // [rows, scale_words]
@group(0) @binding(3) var<storage, read> zeros: array<u32>;  // [rows, zero_words], 8 zero points a word
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
        return f32((zeros[row * params.zero_words + group / 8u] >> (4u * (group % 8u))) & 15u);
    }
    return 8.0;
}

// Padding beyond the last input row stays in the last group: its activations are zero.
fn group_of(row: u32, k: u32) -> u32 {
    if PER_ROW {
        return g_idx[(row / params.rows_per_matrix) * params.row_words * 8u + k];
    }
    return min((params.first_row + k) / GROUP_SIZE - params.first_group, params.groups - 1u);
}

// Weights [row, 8 * word .. 8 * word + 8].
fn weights8(row: u32, word: u32) -> array<vec4<f32>, 2> {
    let packed = codes[row * params.row_words + word];
    let k = word * 8u;
    let low = vec4<f32>((vec4(packed) >> vec4(0u, 4u, 8u, 12u)) & vec4(15u));
    let high = vec4<f32>((vec4(packed) >> vec4(16u, 20u, 24u, 28u)) & vec4(15u));
    if !PER_ROW {
        let group = group_of(row, k);
        if group == group_of(row, k + 7u) {
            let scale = scale_of(row, group);
            let zero = zero_of(row, group);
            return array(scale * (low - zero), scale * (high - zero));
        }
    }
    var g: array<u32, 8>;
    for (var i = 0u; i < 8u; i++) {
        g[i] = group_of(row, k + i);
    }
    return array(
        vec4(scale_of(row, g[0]), scale_of(row, g[1]), scale_of(row, g[2]), scale_of(row, g[3]))
            * (low - vec4(zero_of(row, g[0]), zero_of(row, g[1]), zero_of(row, g[2]), zero_of(row, g[3]))),
        vec4(scale_of(row, g[4]), scale_of(row, g[5]), scale_of(row, g[6]), scale_of(row, g[7]))
            * (high - vec4(zero_of(row, g[4]), zero_of(row, g[5]), zero_of(row, g[6]), zero_of(row, g[7]))),
    );
}
