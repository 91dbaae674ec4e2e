// needs enable_f16: f16
// gives override: THREADS
// gives struct: Params
// gives var: params, x, rounded, factors, largest
// gives fn: main

// rounded[t, k] = f16(x[t, k] / factors[t]), for products in f16: factors are powers of two that take a row's largest value
// to [2^13, 2^14), so that no value of a row is too large for f16, and none that counts too small. A workgroup a row.

override THREADS: u32 = 64;

struct Params {
    quads: u32, // of a row, padding included, which is zero
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> rounded: array<vec4<f16>>;
@group(0) @binding(3) var<storage, read_write> factors: array<f32>;

var<workgroup> largest: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y * params.quads;
    // As integers absolute values compare alike, and NaN is the largest.
    var most = vec4(0u);
    for (var i = lane; i < params.quads; i += THREADS) {
        most = max(most, bitcast<vec4<u32>>(x[row + i]) & vec4(0x7fffffffu));
    }
    largest[lane] = max(max(most.x, most.y), max(most.z, most.w));
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if lane < half {
            largest[lane] = max(largest[lane], largest[lane + half]);
        }
        workgroupBarrier();
    }
    let exponent = clamp(largest[0] >> 23u, 14u, 254u);
    let inverse = bitcast<f32>((267u - exponent) << 23u);
    for (var i = lane; i < params.quads; i += THREADS) {
        rounded[row + i] = vec4<f16>(x[row + i] * inverse);
    }
    if lane == 0u {
        factors[group.y] = bitcast<f32>((exponent - 13u) << 23u);
    }
}
