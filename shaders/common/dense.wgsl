// part: weights when dense
// needs half: bf16_value, f16_value
// needs around: params
// gives override: DTYPE
// gives var: weights
// gives fn: weights8, weights32, product32

// Dense weights: eight consecutive values of a row, as f32.

override DTYPE: u32 = 1; // 0: f16, 1: bf16, 2: f32

@group(0) @binding(1) var<storage, read> weights: array<vec4<u32>>; // [rows, row_words / 4]

// Weights [row, 8 * word .. 8 * word + 8].
fn weights8(row: u32, word: u32) -> array<vec4<f32>, 2> {
    if DTYPE == 2u {
        let at = row * (params.row_words / 4u) + word * 2u;
        return array(bitcast<vec4<f32>>(weights[at]), bitcast<vec4<f32>>(weights[at + 1u]));
    }
    let packed = weights[row * (params.row_words / 4u) + word];
    let low = packed & vec4(0xffffu);
    let high = packed >> vec4(16u);
    if DTYPE == 1u {
        return array(
            vec4(bf16_value(low.x), bf16_value(high.x), bf16_value(low.y), bf16_value(high.y)),
            vec4(bf16_value(low.z), bf16_value(high.z), bf16_value(low.w), bf16_value(high.w)),
        );
    }
    return array(
        vec4(f16_value(low.x), f16_value(high.x), f16_value(low.y), f16_value(high.y)),
        vec4(f16_value(low.z), f16_value(high.z), f16_value(low.w), f16_value(high.w)),
    );
}

// Weights [row, 32 * chunk .. 32 * chunk + 32].
fn weights32(row: u32, chunk: u32) -> array<vec4<f32>, 8> {
    let a = weights8(row, chunk * 4u);
    let b = weights8(row, chunk * 4u + 1u);
    let c = weights8(row, chunk * 4u + 2u);
    let d = weights8(row, chunk * 4u + 3u);
    return array(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]);
}

// The sum of 32 products: weights [row, 32 * chunk ..] with x.
fn product32(row: u32, chunk: u32, x: array<vec4<f32>, 8>) -> f32 {
    let w = weights32(row, chunk);
    return dot(w[0], x[0]) + dot(w[1], x[1]) + dot(w[2], x[2]) + dot(w[3], x[3])
        + dot(w[4], x[4]) + dot(w[5], x[5]) + dot(w[6], x[6]) + dot(w[7], x[7]);
}
