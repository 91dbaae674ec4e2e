// part: beside when beside product
// needs half: bf16_value, f16_value
// needs block_sum: workgroup_sum
// needs around: THREADS, X_ROWS, has_row
// gives override: BESIDE, BESIDE_DTYPE, BESIDE_QUADS, BESIDE_X, BESIDE_Y
// gives var: beside_w, beside_x, beside_y
// gives fn: beside_weights, beside

// Beside its product, matvec.wgsl makes another one of other activations, with dense weights of few rows: the router's
// logits. beside_y[t, n] = sum_k beside_x[t, k] * beside_w[n, k]. A workgroup makes one output feature.

override BESIDE: u32 = 8;         // output features
override BESIDE_DTYPE: u32 = 2;   // 0: f16, 1: bf16, 2: f32
override BESIDE_QUADS: u32 = 8;   // of input features, padding included
override BESIDE_X: u32 = 8;       // quads of a row of x
override BESIDE_Y: u32 = 8;       // values of a row of y

@group(0) @binding(11) var<storage, read> beside_w: array<vec4<u32>>;       // [rows, 4 or 8 values a vec4]
@group(0) @binding(12) var<storage, read> beside_x: array<vec4<f32>>;       // [rows, BESIDE_X]
@group(0) @binding(13) var<storage, read_write> beside_y: array<f32>;       // [rows, BESIDE_Y]

// Four weights of row n.
fn beside_weights(n: u32, quad: u32) -> vec4<f32> {
    if BESIDE_DTYPE == 2u {
        return bitcast<vec4<f32>>(beside_w[n * BESIDE_QUADS + quad]);
    }
    let eight = beside_w[n * (BESIDE_QUADS / 2u) + quad / 2u];
    let four = select(eight.xy, eight.zw, quad % 2u == 1u);
    let bits = vec4(four.x & 0xffffu, four.x >> 16u, four.y & 0xffffu, four.y >> 16u);
    if BESIDE_DTYPE == 1u {
        return vec4(bf16_value(bits.x), bf16_value(bits.y), bf16_value(bits.z), bf16_value(bits.w));
    }
    return vec4(f16_value(bits.x), f16_value(bits.y), f16_value(bits.z), f16_value(bits.w));
}

fn beside(group: vec3<u32>, lane: u32) {
    var sums = vec4(0.0); // a component for each row of x
    for (var quad = lane; quad < BESIDE_QUADS; quad += THREADS) {
        let w = beside_weights(group.x, quad);
        for (var t = 0u; t < X_ROWS; t++) {
            let product = dot(w, beside_x[(group.y * X_ROWS + t) * BESIDE_X + quad]);
            sums += select(vec4(0.0), vec4(product), vec4(t) == vec4(0u, 1u, 2u, 3u));
        }
    }
    let total = workgroup_sum(lane, sums);
    for (var t = 0u; t < X_ROWS && lane == 0u; t++) {
        let row = group.y * X_ROWS + t;
        if has_row(row) {
            beside_y[row * BESIDE_Y + group.x] = total[t];
        }
    }
}
