// part: tiles when dot
// needs product: params
// needs weights: BITS, group_of, scale_of, words32, zero_of
// needs tile: CHUNKS, Tile, w_row
// needs lane_tile: AHEAD, FEATURES, LANES_N, LANES_T, ROWS, Sums, place, quad_of, write_block
// needs around: x_row
// brings: lane_tile
// gives override: K_STEP, ROLLED, QUADS_X, QUADS_W, SCALES_X, SCALES_W
// gives struct: Block, Held, Four
// gives var: quantized, tile_x, tile_w, scales_x, scales_w
// gives fn: x_at, multiply, read_x, read_scale, read_w, bytes_of, put_w, copy, fetch, put, dot32, products, four_rows, add
// gives fn: add_rolled, word_products, word_product

// Lane tiles of products of 8-bit integers. Rows of x come as int8 with a scale for each block of 32 (int8_by_32.wgsl);
// codes less their zero point are int8 too. A block's products are added up as integers, exactly, then scaled in f32:
// y += scale_w * scale_x * sum (code - zero) * x. A block of weights shares a scale: RUN is 32.

override K_STEP: u32 = 64;     // 32 or 64
override ROLLED: bool = false; // a word of each operand at a time, with ROWS = 4 and FEATURES = 4
// naga 30 fails on an array length that is an expression of overrides: the host computes these.
override QUADS_X: u32 = 256;   // TILE_T * K_STEP / 16
override QUADS_W: u32 = 256;   // LANES_N * FEATURES * K_STEP / 16
override SCALES_X: u32 = 128;  // TILE_T * K_STEP / 32
override SCALES_W: u32 = 128;  // LANES_N * FEATURES * K_STEP / 32

// [rows of x, x_stride / 16 quads of int8 and then x_stride / 32 scales, in whole quads]
@group(0) @binding(9) var<storage, read> quantized: array<vec4<u32>>;

var<workgroup> tile_x: array<vec4<u32>, QUADS_X>;
var<workgroup> tile_w: array<vec4<u32>, QUADS_W>;
var<workgroup> scales_x: array<f32, SCALES_X>;
var<workgroup> scales_w: array<f32, SCALES_W>;

// A block of 32 weights as it is stored.
struct Block {
    packed: array<vec2<u32>, 4>,
    scale: f32,
    zero: u32,
}

// What a lane has read ahead: its quads and scales of x, its blocks of weights.
struct Held {
    x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32>,
    scale0: f32, scale1: f32,
    w0: Block, w1: Block, w2: Block, w3: Block,
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
    // Rows lane_t + LANES_T * (0 to 3), then 4 to 7; features lane_n + LANES_N * (0 to 3), then 4 to 7.
    var low: Sums; var low_more: Sums;
    var high: Sums; var high_more: Sums;
    var held: Held;
    if AHEAD {
        held = fetch(tile, n0, 0u, lane);
    }
    for (var k = 0u; k < CHUNKS * 32u; k += K_STEP) {
        if AHEAD {
            put(lane, held);
        } else {
            copy(tile, n0, k, lane);
        }
        workgroupBarrier();
        if AHEAD && k + K_STEP < CHUNKS * 32u {
            held = fetch(tile, n0, k + K_STEP, lane);
        }
        for (var block = 0u; block < K_STEP / 32u; block++) {
            if ROLLED {
                add_rolled(&low, lane_t, lane_n, block);
                continue;
            }
            let four = four_rows(lane_t, block);
            add(&low, four, lane_n, block);
            if FEATURES == 8u {
                add(&low_more, four, lane_n + 4u * LANES_N, block);
            }
            if ROWS == 8u {
                let next_four = four_rows(lane_t + 4u * LANES_T, block);
                add(&high, next_four, lane_n, block);
                if FEATURES == 8u {
                    add(&high_more, next_four, lane_n + 4u * LANES_N, block);
                }
            }
        }
        workgroupBarrier();
    }
    write_block(tile, n0 + lane_n, lane_t, low);
    if FEATURES == 8u {
        write_block(tile, n0 + lane_n + 4u * LANES_N, lane_t, low_more);
    }
    if ROWS == 8u {
        write_block(tile, n0 + lane_n, lane_t + 4u * LANES_T, high);
    }
    if ROWS == 8u && FEATURES == 8u {
        write_block(tile, n0 + lane_n + 4u * LANES_N, lane_t + 4u * LANES_T, high_more);
    }
}

// Quad `at` of the step's x, whose input features begin at k.
fn read_x(tile: Tile, k: u32, at: u32) -> vec4<u32> {
    return quantized[x_at(tile, at / (K_STEP / 16u)) + k / 16u + at % (K_STEP / 16u)];
}

// Scale `at` of the step's x.
fn read_scale(tile: Tile, k: u32, at: u32) -> f32 {
    let block = k / 32u + at % (K_STEP / 32u);
    let quad = quantized[x_at(tile, at / (K_STEP / 32u)) + params.x_stride / 16u + block / 4u];
    return bitcast<f32>(quad[block % 4u]);
}

// Block `at` of the step's weights.
fn read_w(tile: Tile, n0: u32, k: u32, at: u32) -> Block {
    let row = w_row(tile, n0 + at / (K_STEP / 32u));
    let chunk = k / 32u + at % (K_STEP / 32u);
    let group = group_of(row, chunk * 32u);
    return Block(words32(row, chunk), scale_of(row, group), u32(zero_of(row, group)));
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

fn put_w(at: u32, read: Block) {
    let n = at / (K_STEP / 32u);
    let block = at % (K_STEP / 32u);
    let bytes = bytes_of(read.packed, read.zero);
    tile_w[quad_of(K_STEP / 16u, n, 2u * block)] = bytes[0];
    tile_w[quad_of(K_STEP / 16u, n, 2u * block + 1u)] = bytes[1];
    scales_w[at] = read.scale;
}

// Moves a step's operands, from k on, to workgroup memory.
fn copy(tile: Tile, n0: u32, k: u32, lane: u32) {
    for (var at = lane; at < QUADS_X; at += LANES_T * LANES_N) {
        tile_x[at] = read_x(tile, k, at);
    }
    for (var at = lane; at < SCALES_X; at += LANES_T * LANES_N) {
        scales_x[at] = read_scale(tile, k, at);
    }
    for (var at = lane; at < SCALES_W; at += LANES_T * LANES_N) {
        put_w(at, read_w(tile, n0, k, at));
    }
}

// Reads a step's operands, from k on.
fn fetch(tile: Tile, n0: u32, k: u32, lane: u32) -> Held {
    var held: Held;
    held.x0 = read_x(tile, k, place(lane, 0u, QUADS_X));
    if QUADS_X > LANES_T * LANES_N {
        held.x1 = read_x(tile, k, place(lane, 1u, QUADS_X));
    }
    if QUADS_X > 2u * LANES_T * LANES_N {
        held.x2 = read_x(tile, k, place(lane, 2u, QUADS_X));
        held.x3 = read_x(tile, k, place(lane, 3u, QUADS_X));
    }
    held.scale0 = read_scale(tile, k, place(lane, 0u, SCALES_X));
    if SCALES_X > LANES_T * LANES_N {
        held.scale1 = read_scale(tile, k, place(lane, 1u, SCALES_X));
    }
    held.w0 = read_w(tile, n0, k, place(lane, 0u, SCALES_W));
    if SCALES_W > LANES_T * LANES_N {
        held.w1 = read_w(tile, n0, k, place(lane, 1u, SCALES_W));
    }
    if SCALES_W > 2u * LANES_T * LANES_N {
        held.w2 = read_w(tile, n0, k, place(lane, 2u, SCALES_W));
        held.w3 = read_w(tile, n0, k, place(lane, 3u, SCALES_W));
    }
    return held;
}

// Moves what `fetch` has read to workgroup memory.
fn put(lane: u32, held: Held) {
    tile_x[place(lane, 0u, QUADS_X)] = held.x0;
    if QUADS_X > LANES_T * LANES_N {
        tile_x[place(lane, 1u, QUADS_X)] = held.x1;
    }
    if QUADS_X > 2u * LANES_T * LANES_N {
        tile_x[place(lane, 2u, QUADS_X)] = held.x2;
        tile_x[place(lane, 3u, QUADS_X)] = held.x3;
    }
    scales_x[place(lane, 0u, SCALES_X)] = held.scale0;
    if SCALES_X > LANES_T * LANES_N {
        scales_x[place(lane, 1u, SCALES_X)] = held.scale1;
    }
    put_w(place(lane, 0u, SCALES_W), held.w0);
    if SCALES_W > LANES_T * LANES_N {
        put_w(place(lane, 1u, SCALES_W), held.w1);
    }
    if SCALES_W > 2u * LANES_T * LANES_N {
        put_w(place(lane, 2u, SCALES_W), held.w2);
        put_w(place(lane, 3u, SCALES_W), held.w3);
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

// A block of the four rows from t on.
fn four_rows(t: u32, block: u32) -> Four {
    let at = t * (K_STEP / 16u) + 2u * block;
    let next = LANES_T * (K_STEP / 16u);
    let scale = t * (K_STEP / 32u) + block;
    let next_scale = LANES_T * (K_STEP / 32u);
    return Four(
        array(tile_x[at], tile_x[at + next], tile_x[at + 2u * next], tile_x[at + 3u * next]),
        array(tile_x[at + 1u], tile_x[at + next + 1u], tile_x[at + 2u * next + 1u], tile_x[at + 3u * next + 1u]),
        vec4(scales_x[scale], scales_x[scale + next_scale], scales_x[scale + 2u * next_scale],
            scales_x[scale + 3u * next_scale]),
    );
}

// Adds a block's products of four rows with the four output features from n on.
fn add(sums: ptr<function, Sums>, x: Four, n: u32, block: u32) {
    (*sums).feature[0] += products(x, n, block);
    (*sums).feature[1] += products(x, n + LANES_N, block);
    (*sums).feature[2] += products(x, n + 2u * LANES_N, block);
    (*sums).feature[3] += products(x, n + 3u * LANES_N, block);
}

// As `add`, of the four rows from t on. Devices that have no products of int8 unpack each byte into a register: a loop over
// words that compilers cannot unroll leaves them those of one word at a time.
fn add_rolled(sums: ptr<function, Sums>, t: u32, n: u32, block: u32) {
    var a = vec4(0i); var b = vec4(0i); var c = vec4(0i); var d = vec4(0i);
    let next_x = LANES_T * (K_STEP / 16u);
    let next_w = LANES_N * (K_STEP / 16u);
    // 8, which a compiler cannot know.
    let words = min(2u * params.in_words, 8u);
    for (var i = 0u; i < words; i++) {
        let quad = 2u * block + i / 4u;
        let at = t * (K_STEP / 16u) + quad;
        let at_w = quad_of(K_STEP / 16u, n, quad); // LANES_N is a multiple of 8: the lane's other features are shifted alike.
        let x = vec4(tile_x[at][i % 4u], tile_x[at + next_x][i % 4u], tile_x[at + 2u * next_x][i % 4u],
            tile_x[at + 3u * next_x][i % 4u]);
        a += word_products(x, tile_w[at_w][i % 4u]);
        b += word_products(x, tile_w[at_w + next_w][i % 4u]);
        c += word_products(x, tile_w[at_w + 2u * next_w][i % 4u]);
        d += word_products(x, tile_w[at_w + 3u * next_w][i % 4u]);
    }
    let scale = t * (K_STEP / 32u) + block;
    let next = LANES_T * (K_STEP / 32u);
    let x = vec4(scales_x[scale], scales_x[scale + next], scales_x[scale + 2u * next], scales_x[scale + 3u * next]);
    (*sums).feature[0] += vec4<f32>(a) * (x * scales_w[n * (K_STEP / 32u) + block]);
    (*sums).feature[1] += vec4<f32>(b) * (x * scales_w[(n + LANES_N) * (K_STEP / 32u) + block]);
    (*sums).feature[2] += vec4<f32>(c) * (x * scales_w[(n + 2u * LANES_N) * (K_STEP / 32u) + block]);
    (*sums).feature[3] += vec4<f32>(d) * (x * scales_w[(n + 3u * LANES_N) * (K_STEP / 32u) + block]);
}

// Products of a word of four rows with a word of a feature.
fn word_products(x: vec4<u32>, w: u32) -> vec4<i32> {
    return vec4(word_product(x.x, w), word_product(x.y, w), word_product(x.z, w), word_product(x.w, w));
}

// A function of its own: naga 30 declares a variable for each argument in MSL, twice where two products of a function have it.
fn word_product(x: u32, w: u32) -> i32 {
    return dot4I8Packed(x, w);
}
