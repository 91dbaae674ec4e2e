// part: tiles
// needs product: params, x
// needs reading: Read8, read8, weights_of
// needs tile: Tile, w_row
// needs lane_tile: AHEAD, FEATURES, LANES_N, LANES_T, ROWS, Sums, place, quad_of, share_begin, write_block
// needs direct_tile: add_direct
// needs around: x_row
// brings: lane_tile
// gives override: K_STEP, DIRECT, QUADS_X, QUADS_W
// gives struct: Held
// gives var: tile_x, tile_w
// gives fn: add, x_at, multiply, read_x, read_w, put_w, copy, fetch, put, four_w, add_step

// Lane tiles in f32, input features in order.
//
// For GPUs both operands go through workgroup memory, K_STEP input features at a time, so that a weight is decoded once a
// tile. DIRECT is for software adapters, where a load is a loop over lanes from workgroup memory too: each lane decodes
// its own weights, and there is no barrier (direct_tile.wgsl).

override K_STEP: u32 = 16;     // 8, 16 or 32; what is not DIRECT only
override DIRECT: bool = false; // with FEATURES = 8
// naga 30 fails on an array length that is an expression of overrides: the host computes these.
override QUADS_X: u32 = 256;   // TILE_T * K_STEP / 4
override QUADS_W: u32 = 256;   // LANES_N * FEATURES * K_STEP / 4

var<workgroup> tile_x: array<vec4<f32>, QUADS_X>;
var<workgroup> tile_w: array<vec4<f32>, QUADS_W>;

// What a lane has read ahead: its quads of x, its weights by eight.
struct Held {
    x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>,
    w0: Read8, w1: Read8, w2: Read8, w3: Read8,
}

// Adds 4 input features, of which a..d are those of the four rows, and w those of the four output features.
fn add(sums: ptr<function, Sums>, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, w: array<vec4<f32>, 4>) {
    let k0 = vec4(a.x, b.x, c.x, d.x);
    let k1 = vec4(a.y, b.y, c.y, d.y);
    let k2 = vec4(a.z, b.z, c.z, d.z);
    let k3 = vec4(a.w, b.w, c.w, d.w);
    (*sums).feature[0] = (((*sums).feature[0] + w[0].x * k0) + w[0].y * k1 + w[0].z * k2) + w[0].w * k3;
    (*sums).feature[1] = (((*sums).feature[1] + w[1].x * k0) + w[1].y * k1 + w[1].z * k2) + w[1].w * k3;
    (*sums).feature[2] = (((*sums).feature[2] + w[2].x * k0) + w[2].y * k1 + w[2].z * k2) + w[2].w * k3;
    (*sums).feature[3] = (((*sums).feature[3] + w[3].x * k0) + w[3].y * k1 + w[3].z * k2) + w[3].w * k3;
}

// Rows beyond the tile's last repeat the last one; they are not written.
fn x_at(tile: Tile, t: u32) -> u32 {
    return x_row(tile, min(t, tile.count - 1u)) * (params.x_stride / 4u);
}

// Makes the tile's output features from n0 on, of a share's input features. Called by all lanes of a workgroup or by none.
fn multiply(tile: Tile, n0: u32, number: u32, lane: u32) {
    let lane_n = lane % LANES_N;
    let lane_t = lane / LANES_N;
    // Rows lane_t + LANES_T * (0 to 3), then 4 to 7; features lane_n + LANES_N * (0 to 3), then 4 to 7.
    var low: Sums; var low_more: Sums;
    var high: Sums; var high_more: Sums;
    if DIRECT {
        add_direct(tile, n0 + lane_n, lane_t, &low, &low_more, &high, &high_more);
    } else {
        let end = share_begin(number + 1u);
        var held: Held;
        if AHEAD {
            held = fetch(tile, n0, share_begin(number), lane);
        }
        for (var k = share_begin(number); k < end; k += K_STEP) {
            if AHEAD {
                put(tile, n0, k, lane, held);
            } else {
                copy(tile, n0, k, lane);
            }
            workgroupBarrier();
            if AHEAD && k + K_STEP < end {
                held = fetch(tile, n0, k + K_STEP, lane);
            }
            add_step(lane_n, lane_t, &low, &low_more, &high, &high_more);
            workgroupBarrier();
        }
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
fn read_x(tile: Tile, k: u32, at: u32) -> vec4<f32> {
    return x[x_at(tile, at / (K_STEP / 4u)) + k / 4u + at % (K_STEP / 4u)];
}

// Eight `at` of the step's weights.
fn read_w(tile: Tile, n0: u32, k: u32, at: u32) -> Read8 {
    return read8(w_row(tile, n0 + at / (K_STEP / 8u)), k / 8u + at % (K_STEP / 8u));
}

fn put_w(tile: Tile, n0: u32, k: u32, at: u32, read: Read8) {
    let n = at / (K_STEP / 8u);
    let word = at % (K_STEP / 8u);
    let w = weights_of(read, w_row(tile, n0 + n), k / 8u + word, 1.0);
    tile_w[quad_of(K_STEP / 4u, n, 2u * word)] = w[0];
    tile_w[quad_of(K_STEP / 4u, n, 2u * word + 1u)] = w[1];
}

// Moves a step's operands, from k on, to workgroup memory.
fn copy(tile: Tile, n0: u32, k: u32, lane: u32) {
    for (var at = lane; at < QUADS_X; at += LANES_T * LANES_N) {
        tile_x[at] = read_x(tile, k, at);
    }
    for (var at = lane; at < QUADS_W / 2u; at += LANES_T * LANES_N) {
        put_w(tile, n0, k, at, read_w(tile, n0, k, at));
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
    held.w0 = read_w(tile, n0, k, place(lane, 0u, QUADS_W / 2u));
    if QUADS_W / 2u > LANES_T * LANES_N {
        held.w1 = read_w(tile, n0, k, place(lane, 1u, QUADS_W / 2u));
    }
    if QUADS_W / 2u > 2u * LANES_T * LANES_N {
        held.w2 = read_w(tile, n0, k, place(lane, 2u, QUADS_W / 2u));
        held.w3 = read_w(tile, n0, k, place(lane, 3u, QUADS_W / 2u));
    }
    return held;
}

// Moves what `fetch` has read to workgroup memory.
fn put(tile: Tile, n0: u32, k: u32, lane: u32, held: Held) {
    tile_x[place(lane, 0u, QUADS_X)] = held.x0;
    if QUADS_X > LANES_T * LANES_N {
        tile_x[place(lane, 1u, QUADS_X)] = held.x1;
    }
    if QUADS_X > 2u * LANES_T * LANES_N {
        tile_x[place(lane, 2u, QUADS_X)] = held.x2;
        tile_x[place(lane, 3u, QUADS_X)] = held.x3;
    }
    put_w(tile, n0, k, place(lane, 0u, QUADS_W / 2u), held.w0);
    if QUADS_W / 2u > LANES_T * LANES_N {
        put_w(tile, n0, k, place(lane, 1u, QUADS_W / 2u), held.w1);
    }
    if QUADS_W / 2u > 2u * LANES_T * LANES_N {
        put_w(tile, n0, k, place(lane, 2u, QUADS_W / 2u), held.w2);
        put_w(tile, n0, k, place(lane, 3u, QUADS_W / 2u), held.w3);
    }
}

// Four features of the step's quad at n, `next` apart.
fn four_w(n: u32, next: u32) -> array<vec4<f32>, 4> {
    return array(tile_w[n], tile_w[n + next], tile_w[n + 2u * next], tile_w[n + 3u * next]);
}

// Adds the step that is in workgroup memory.
fn add_step(
    lane_n: u32,
    lane_t: u32,
    low: ptr<function, Sums>,
    low_more: ptr<function, Sums>,
    high: ptr<function, Sums>,
    high_more: ptr<function, Sums>,
) {
    let next_n = LANES_N * (K_STEP / 4u);
    let next_t = LANES_T * (K_STEP / 4u);
    for (var quad = 0u; quad < K_STEP / 4u; quad++) {
        let n = quad_of(K_STEP / 4u, lane_n, quad); // LANES_N is a multiple of 8: the lane's other features are shifted alike.
        let t = lane_t * (K_STEP / 4u) + quad;
        let w = four_w(n, next_n);
        add(low, tile_x[t], tile_x[t + next_t], tile_x[t + 2u * next_t], tile_x[t + 3u * next_t], w);
        if FEATURES == 8u {
            let more = four_w(n + 4u * next_n, next_n);
            add(low_more, tile_x[t], tile_x[t + next_t], tile_x[t + 2u * next_t], tile_x[t + 3u * next_t], more);
        }
        if ROWS == 8u {
            let u = t + 4u * next_t;
            add(high, tile_x[u], tile_x[u + next_t], tile_x[u + 2u * next_t], tile_x[u + 3u * next_t], w);
            if FEATURES == 8u {
                let more = four_w(n + 4u * next_n, next_n);
                add(high_more, tile_x[u], tile_x[u + next_t], tile_x[u + 2u * next_t], tile_x[u + 3u * next_t], more);
            }
        }
    }
}
