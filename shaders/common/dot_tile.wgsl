// Lane tiles of products of 8-bit integers. Rows of x come as int8 with a scale for each block of 32 (quantize_rows.wgsl);
// codes less their zero point are int8 too. A block's products are added up as integers, exactly, then scaled in f32:
// y += scale_w * scale_x * sum (code - zero) * x. A block of weights shares a scale: RUN is 32.

override K_STEP: u32 = 64;     // 32 or 64
// naga 30 fails on an array length that is an expression of overrides: the host computes these.
override QUADS_X: u32 = 256;   // TILE_T * K_STEP / 16
override QUADS_W: u32 = 256;   // LANES_N * 8 * K_STEP / 16
override SCALES_X: u32 = 128;  // TILE_T * K_STEP / 32
override SCALES_W: u32 = 128;  // LANES_N * 8 * K_STEP / 32

// What a lane reads at a time, at most.
const MAX_X: u32 = 8u;
const MAX_W: u32 = 8u;

// [rows of x, x_stride / 16 quads of int8 and then x_stride / 32 scales, in whole quads]
@group(0) @binding(9) var<storage, read> quantized: array<vec4<u32>>;

var<workgroup> tile_x: array<vec4<u32>, QUADS_X>;
var<workgroup> tile_w: array<vec4<u32>, QUADS_W>;
var<workgroup> scales_x: array<f32, SCALES_X>;
var<workgroup> scales_w: array<f32, SCALES_W>;

// What a lane has read: quads of x, scales of x, and blocks of weights with scale and zero point.
struct Held {
    x: array<vec4<u32>, MAX_X>,
    scale: array<f32, MAX_X>,
    w: array<array<vec2<u32>, 4>, MAX_W>,
    w_scale: array<f32, MAX_W>,
    w_zero: array<u32, MAX_W>,
}

// Rows beyond the tile's last repeat the last one; they are not written.
fn x_at(tile: Tile, t: u32) -> u32 {
    let quads = params.x_stride / 16u + (params.x_stride / 32u + 3u) / 4u;
    return x_row(tile, min(t, tile.count - 1u)) * quads;
}

// Makes the tile's output features from n0 on, of all input features: there is one share. Called by all lanes of a
// workgroup or by none.
fn multiply(tile: Tile, n0: u32, number: u32, lane: u32) {
    let lane_n = lane % LANES_N;
    let lane_t = lane / LANES_N;
    var low: Sums;  // rows lane_t + LANES_T * (0 to 3)
    var high: Sums; // and 4 to 7, where ROWS is 8
    // The next step's operands are on their way while this one's are multiplied.
    var held = fetch(tile, n0, 0u, lane);
    for (var k = 0u; k < CHUNKS * 32u; k += K_STEP) {
        put(lane, held);
        workgroupBarrier();
        if k + K_STEP < CHUNKS * 32u {
            held = fetch(tile, n0, k + K_STEP, lane);
        }
        for (var block = 0u; block < K_STEP / 32u; block++) {
            add_block(&low, lane_n, lane_t, block);
            if ROWS == 8u {
                add_block(&high, lane_n, lane_t + 4u * LANES_T, block);
            }
        }
        workgroupBarrier();
    }
    write4(tile, n0 + lane_n, lane_t, low);
    if ROWS == 8u {
        write4(tile, n0 + lane_n, lane_t + 4u * LANES_T, high);
    }
}

// Input features k to k + K_STEP of both operands.
fn fetch(tile: Tile, n0: u32, k: u32, lane: u32) -> Held {
    var held: Held;
    let lanes = LANES_T * LANES_N;
    for (var i = 0u; i < (QUADS_X + lanes - 1u) / lanes; i++) {
        let at = place(lane, i, QUADS_X);
        held.x[i] = quantized[x_at(tile, at / (K_STEP / 16u)) + k / 16u + at % (K_STEP / 16u)];
    }
    for (var i = 0u; i < (SCALES_X + lanes - 1u) / lanes; i++) {
        let at = place(lane, i, SCALES_X);
        let block = k / 32u + at % (K_STEP / 32u);
        let quad = quantized[x_at(tile, at / (K_STEP / 32u)) + params.x_stride / 16u + block / 4u];
        held.scale[i] = bitcast<f32>(quad[block % 4u]);
    }
    for (var i = 0u; i < (SCALES_W + lanes - 1u) / lanes; i++) {
        let at = place(lane, i, SCALES_W);
        let row = w_row(tile, n0 + at / (K_STEP / 32u));
        let chunk = k / 32u + at % (K_STEP / 32u);
        let group = group_of(row, chunk * 32u);
        held.w[i] = words32(row, chunk);
        held.w_scale[i] = scale_of(row, group);
        held.w_zero[i] = u32(zero_of(row, group));
    }
    return held;
}

// Codes less their zero point, as int8. Of 4 bits, those of even numbers go before those of odd ones in each eight, as in x.
fn bytes_of(packed: array<vec2<u32>, 4>, zero: u32) -> array<vec4<u32>, 2> {
    let sign = vec4(0x80808080u);
    if BITS == 8u { // The zero point is 128.
        return array(vec4(packed[0], packed[1]) ^ sign, vec4(packed[2], packed[3]) ^ sign);
    }
    let words = vec4(packed[0].x, packed[1].x, packed[2].x, packed[3].x);
    let even = words & vec4(0x0f0f0f0fu);
    let odd = (words >> vec4(4u)) & vec4(0x0f0f0f0fu);
    // No byte borrows of its neighbour: the sign bit stands in for it.
    let zeros = vec4(zero * 0x01010101u);
    let first = ((vec4(even.x, odd.x, even.y, odd.y) | sign) - zeros) ^ sign;
    let second = ((vec4(even.z, odd.z, even.w, odd.w) | sign) - zeros) ^ sign;
    return array(first, second);
}

fn put(lane: u32, held: Held) {
    let lanes = LANES_T * LANES_N;
    for (var i = 0u; i < (QUADS_X + lanes - 1u) / lanes; i++) {
        tile_x[place(lane, i, QUADS_X)] = held.x[i];
    }
    for (var i = 0u; i < (SCALES_X + lanes - 1u) / lanes; i++) {
        scales_x[place(lane, i, SCALES_X)] = held.scale[i];
    }
    for (var i = 0u; i < (SCALES_W + lanes - 1u) / lanes; i++) {
        let at = place(lane, i, SCALES_W);
        let n = at / (K_STEP / 32u);
        let block = at % (K_STEP / 32u);
        let bytes = bytes_of(held.w[i], held.w_zero[i]);
        tile_w[quad_of(K_STEP / 16u, n, 2u * block)] = bytes[0];
        tile_w[quad_of(K_STEP / 16u, n, 2u * block + 1u)] = bytes[1];
        scales_w[at] = held.w_scale[i];
    }
}

// The sum of 32 products.
fn dot32(a0: vec4<u32>, a1: vec4<u32>, b0: vec4<u32>, b1: vec4<u32>) -> i32 {
    return dot4I8Packed(a0.x, b0.x) + dot4I8Packed(a0.y, b0.y) + dot4I8Packed(a0.z, b0.z) + dot4I8Packed(a0.w, b0.w)
        + dot4I8Packed(a1.x, b1.x) + dot4I8Packed(a1.y, b1.y) + dot4I8Packed(a1.z, b1.z) + dot4I8Packed(a1.w, b1.w);
}

// A block of four rows: both quads of each, and their scales.
struct Four {
    first: array<vec4<u32>, 4>,
    second: array<vec4<u32>, 4>,
    scale: vec4<f32>,
}

// A block's products of four rows with feature n, scaled.
fn products(x: Four, n: u32, block: u32) -> vec4<f32> {
    let w0 = tile_w[quad_of(K_STEP / 16u, n, 2u * block)];
    let w1 = tile_w[quad_of(K_STEP / 16u, n, 2u * block + 1u)];
    let sums = vec4(
        dot32(x.first[0], x.second[0], w0, w1), dot32(x.first[1], x.second[1], w0, w1),
        dot32(x.first[2], x.second[2], w0, w1), dot32(x.first[3], x.second[3], w0, w1),
    );
    return vec4<f32>(sums) * (x.scale * scales_w[n * (K_STEP / 32u) + block]);
}

// Adds a block of the four rows from t on.
fn add_block(sums: ptr<function, Sums>, n: u32, t: u32, block: u32) {
    let at = t * (K_STEP / 16u) + 2u * block;
    let next = LANES_T * (K_STEP / 16u);
    let scale = t * (K_STEP / 32u) + block;
    let next_scale = LANES_T * (K_STEP / 32u);
    let x = Four(
        array(tile_x[at], tile_x[at + next], tile_x[at + 2u * next], tile_x[at + 3u * next]),
        array(tile_x[at + 1u], tile_x[at + next + 1u], tile_x[at + 2u * next + 1u], tile_x[at + 3u * next + 1u]),
        vec4(scales_x[scale], scales_x[scale + next_scale], scales_x[scale + 2u * next_scale],
            scales_x[scale + 3u * next_scale]),
    );
    (*sums).feature[0] += products(x, n, block);
    (*sums).feature[1] += products(x, n + LANES_N, block);
    (*sums).feature[2] += products(x, n + 2u * LANES_N, block);
    (*sums).feature[3] += products(x, n + 3u * LANES_N, block);
    (*sums).feature[4] += products(x, n + 4u * LANES_N, block);
    (*sums).feature[5] += products(x, n + 5u * LANES_N, block);
    (*sums).feature[6] += products(x, n + 6u * LANES_N, block);
    (*sums).feature[7] += products(x, n + 7u * LANES_N, block);
}
