// Lane tiles in f32, input features in order.
//
// For GPUs both operands go through workgroup memory, K_STEP input features at a time, so that a weight is decoded once a
// tile. DIRECT is for software adapters, where a load is a loop over lanes from workgroup memory too: each lane decodes
// its own weights, and there is no barrier.

override K_STEP: u32 = 16;     // 8, 16 or 32; what is not DIRECT only
override DIRECT: bool = false;
// naga 30 fails on an array length that is an expression of overrides: the host computes these.
override QUADS_X: u32 = 256;   // TILE_T * K_STEP / 4
override QUADS_W: u32 = 256;   // LANES_N * 8 * K_STEP / 4

// What a lane reads at a time, at most.
const MAX_X: u32 = 8u;
const MAX_W: u32 = 8u;

var<workgroup> tile_x: array<vec4<f32>, QUADS_X>;
var<workgroup> tile_w: array<vec4<f32>, QUADS_W>;

// What a lane has read: its quads of x, its weights by eight.
struct Held {
    x: array<vec4<f32>, MAX_X>,
    w: array<Read8, MAX_W>,
}

// Adds 4 input features, of which a..d are those of the four rows.
fn add(sums: ptr<function, Sums>, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, w: array<vec4<f32>, 8>) {
    let k0 = vec4(a.x, b.x, c.x, d.x);
    let k1 = vec4(a.y, b.y, c.y, d.y);
    let k2 = vec4(a.z, b.z, c.z, d.z);
    let k3 = vec4(a.w, b.w, c.w, d.w);
    (*sums).feature[0] = (((*sums).feature[0] + w[0].x * k0) + w[0].y * k1 + w[0].z * k2) + w[0].w * k3;
    (*sums).feature[1] = (((*sums).feature[1] + w[1].x * k0) + w[1].y * k1 + w[1].z * k2) + w[1].w * k3;
    (*sums).feature[2] = (((*sums).feature[2] + w[2].x * k0) + w[2].y * k1 + w[2].z * k2) + w[2].w * k3;
    (*sums).feature[3] = (((*sums).feature[3] + w[3].x * k0) + w[3].y * k1 + w[3].z * k2) + w[3].w * k3;
    (*sums).feature[4] = (((*sums).feature[4] + w[4].x * k0) + w[4].y * k1 + w[4].z * k2) + w[4].w * k3;
    (*sums).feature[5] = (((*sums).feature[5] + w[5].x * k0) + w[5].y * k1 + w[5].z * k2) + w[5].w * k3;
    (*sums).feature[6] = (((*sums).feature[6] + w[6].x * k0) + w[6].y * k1 + w[6].z * k2) + w[6].w * k3;
    (*sums).feature[7] = (((*sums).feature[7] + w[7].x * k0) + w[7].y * k1 + w[7].z * k2) + w[7].w * k3;
}

// Rows beyond the tile's last repeat the last one; they are not written.
fn x_at(tile: Tile, t: u32) -> u32 {
    return x_row(tile, min(t, tile.count - 1u)) * (params.x_stride / 4u);
}

// Makes the tile's output features from n0 on, of a share's input features. Called by all lanes of a workgroup or by none.
fn multiply(tile: Tile, n0: u32, number: u32, lane: u32) {
    let lane_n = lane % LANES_N;
    let lane_t = lane / LANES_N;
    var low: Sums;  // rows lane_t + LANES_T * (0 to 3)
    var high: Sums; // and 4 to 7, where ROWS is 8
    if DIRECT {
        add_direct(tile, n0 + lane_n, lane_t, &low, &high);
    } else {
        // The next step's operands are on their way while this one's are multiplied.
        let end = share_begin(number + 1u);
        var held = fetch(tile, n0, share_begin(number), lane);
        for (var k = share_begin(number); k < end; k += K_STEP) {
            put(tile, n0, k, lane, held);
            workgroupBarrier();
            if k + K_STEP < end {
                held = fetch(tile, n0, k + K_STEP, lane);
            }
            add_fetched(lane_n, lane_t, &low, &high);
            workgroupBarrier();
        }
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
    let count_x = LANES_T * ROWS * K_STEP / 4u;
    for (var i = 0u; i < (count_x + lanes - 1u) / lanes; i++) {
        let at = place(lane, i, count_x);
        held.x[i] = x[x_at(tile, at / (K_STEP / 4u)) + k / 4u + at % (K_STEP / 4u)];
    }
    let count_w = LANES_N * K_STEP;
    for (var i = 0u; i < (count_w + lanes - 1u) / lanes; i++) {
        let at = place(lane, i, count_w);
        held.w[i] = read8(w_row(tile, n0 + at / (K_STEP / 8u)), k / 8u + at % (K_STEP / 8u));
    }
    return held;
}

fn put(tile: Tile, n0: u32, k: u32, lane: u32, held: Held) {
    let lanes = LANES_T * LANES_N;
    let count_x = LANES_T * ROWS * K_STEP / 4u;
    for (var i = 0u; i < (count_x + lanes - 1u) / lanes; i++) {
        tile_x[place(lane, i, count_x)] = held.x[i];
    }
    let count_w = LANES_N * K_STEP;
    for (var i = 0u; i < (count_w + lanes - 1u) / lanes; i++) {
        let at = place(lane, i, count_w);
        let n = at / (K_STEP / 8u);
        let word = at % (K_STEP / 8u);
        let w = weights_of(held.w[i], w_row(tile, n0 + n), k / 8u + word, 1.0);
        tile_w[quad_of(K_STEP / 4u, n, 2u * word)] = w[0];
        tile_w[quad_of(K_STEP / 4u, n, 2u * word + 1u)] = w[1];
    }
}

fn add_fetched(lane_n: u32, lane_t: u32, low: ptr<function, Sums>, high: ptr<function, Sums>) {
    let next_n = LANES_N * (K_STEP / 4u);
    let next_t = LANES_T * (K_STEP / 4u);
    for (var quad = 0u; quad < K_STEP / 4u; quad++) {
        let n = quad_of(K_STEP / 4u, lane_n, quad); // LANES_N is a multiple of 8: the lane's other features are shifted alike.
        let t = lane_t * (K_STEP / 4u) + quad;
        let w = array(
            tile_w[n], tile_w[n + next_n], tile_w[n + 2u * next_n], tile_w[n + 3u * next_n],
            tile_w[n + 4u * next_n], tile_w[n + 5u * next_n], tile_w[n + 6u * next_n], tile_w[n + 7u * next_n],
        );
        add(low, tile_x[t], tile_x[t + next_t], tile_x[t + 2u * next_t], tile_x[t + 3u * next_t], w);
        if ROWS == 8u {
            let u = t + 4u * next_t;
            add(high, tile_x[u], tile_x[u + next_t], tile_x[u + 2u * next_t], tile_x[u + 3u * next_t], w);
        }
    }
}

fn add_direct(tile: Tile, n: u32, lane_t: u32, low: ptr<function, Sums>, high: ptr<function, Sums>) {
    let t0 = x_at(tile, lane_t);
    let t1 = x_at(tile, lane_t + LANES_T);
    let t2 = x_at(tile, lane_t + 2u * LANES_T);
    let t3 = x_at(tile, lane_t + 3u * LANES_T);
    let t4 = x_at(tile, lane_t + 4u * LANES_T);
    let t5 = x_at(tile, lane_t + 5u * LANES_T);
    let t6 = x_at(tile, lane_t + 6u * LANES_T);
    let t7 = x_at(tile, lane_t + 7u * LANES_T);
    let n0 = w_row(tile, n);
    let n1 = w_row(tile, n + LANES_N);
    let n2 = w_row(tile, n + 2u * LANES_N);
    let n3 = w_row(tile, n + 3u * LANES_N);
    let n4 = w_row(tile, n + 4u * LANES_N);
    let n5 = w_row(tile, n + 5u * LANES_N);
    let n6 = w_row(tile, n + 6u * LANES_N);
    let n7 = w_row(tile, n + 7u * LANES_N);
    for (var word = 0u; word < params.in_words; word++) {
        let w0 = weights8(n0, word);
        let w1 = weights8(n1, word);
        let w2 = weights8(n2, word);
        let w3 = weights8(n3, word);
        let w4 = weights8(n4, word);
        let w5 = weights8(n5, word);
        let w6 = weights8(n6, word);
        let w7 = weights8(n7, word);
        let k = word * 2u;
        let a = array(w0[0], w1[0], w2[0], w3[0], w4[0], w5[0], w6[0], w7[0]);
        let b = array(w0[1], w1[1], w2[1], w3[1], w4[1], w5[1], w6[1], w7[1]);
        add(low, x[t0 + k], x[t1 + k], x[t2 + k], x[t3 + k], a);
        add(low, x[t0 + k + 1u], x[t1 + k + 1u], x[t2 + k + 1u], x[t3 + k + 1u], b);
        if ROWS == 8u {
            add(high, x[t4 + k], x[t5 + k], x[t6 + k], x[t7 + k], a);
            add(high, x[t4 + k + 1u], x[t5 + k + 1u], x[t6 + k + 1u], x[t7 + k + 1u], b);
        }
    }
}
