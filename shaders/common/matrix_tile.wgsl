// part: tiles when matrix16, matrix8
// needs enable_matrix: f16, wgpu_cooperative_matrix
// needs product: params
// needs reading: Read32, read32, weights_of32
// needs tile: CHUNKS, TILE_T, Tile, w_row, write
// needs matrices: CELL, MatrixW, MatrixX, SIDE, Sums, put_w, put_x, tile_w, tile_x
// needs around: tile_at, x_row, y_row
// gives override: BLOCKS_T, BLOCKS_N, ACROSS, MATRIX_LANES, K_STEP, AHEAD, CELLS_X, CELLS_W, RESULTS
// gives const: WEIGHT_FACTOR, MAX_X, MAX_W
// gives struct: Held
// gives var: rounded, factors, row_of, results
// gives fn: main, place, fetch, put, multiply, write_results

// Tiles by cooperative matrices of f16 with f32 sums. A workgroup makes BLOCKS_T x BLOCKS_N blocks of 2 x ACROSS matrices,
// a subgroup each; more subgroups than blocks repeat the first ones' work.
//
// Rows of x come in f16 with a factor each (f16_by_row.wgsl). Weights are decoded in f32, times 64, and rounded to f16:
// they may be as large as 1023, and lose bits below 2^-20. Anything larger becomes infinite and shows.

override BLOCKS_T: u32 = 2;     // TILE_T = BLOCKS_T * 2 * SIDE
override BLOCKS_N: u32 = 2;
override ACROSS: u32 = 4;       // 2 or 4
override MATRIX_LANES: u32 = 128;      // BLOCKS_T * BLOCKS_N of the largest subgroups
override K_STEP: u32 = 32;      // input features that go through workgroup memory at a time: 32 or 64
override AHEAD: bool = true;    // read the next ones meanwhile
// naga 30 fails on an array length that is an expression of overrides: the host computes these.
override CELLS_X: u32 = 640;    // TILE_T * (K_STEP + 8) / CELL
override CELLS_W: u32 = 1280;
override RESULTS: u32 = 1024;   // BLOCKS_T * BLOCKS_N * SIDE * SIDE

const WEIGHT_FACTOR: f32 = 64.0;
// What a lane reads at a time, at most.
const MAX_X: u32 = 16u;
const MAX_W: u32 = 4u;

@group(0) @binding(9) var<storage, read> rounded: array<vec4<f16>>; // [rows of x, x_stride / 4]
@group(0) @binding(10) var<storage, read> factors: array<f32>;      // [rows of x]

var<workgroup> row_of: array<u32, TILE_T>;
var<workgroup> results: array<f32, RESULTS>;

// What a lane has read: its quads of x, its chunks of weights.
struct Held {
    x: array<vec4<f16>, MAX_X>,
    w: array<Read32, MAX_W>,
}

@compute @workgroup_size(MATRIX_LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let tile = tile_at(group.y);
    if tile.count > 0u {
        multiply(tile, group.x * BLOCKS_N * ACROSS * SIDE, lane, subgroup % (BLOCKS_T * BLOCKS_N));
    }
}

// Number i of the places that a lane serves, of `count`: lanes without one of their own repeat the last.
fn place(lane: u32, i: u32, count: u32) -> u32 {
    return min(i * MATRIX_LANES + lane, count - 1u);
}

fn fetch(tile: Tile, n0: u32, k: u32, lane: u32) -> Held {
    var held: Held;
    let count_x = TILE_T * K_STEP / 4u;
    for (var i = 0u; i < (count_x + MATRIX_LANES - 1u) / MATRIX_LANES; i++) {
        let at = place(lane, i, count_x);
        held.x[i] = rounded[row_of[at / (K_STEP / 4u)] * (params.x_stride / 4u) + k / 4u + at % (K_STEP / 4u)];
    }
    let count_w = BLOCKS_N * ACROSS * SIDE * K_STEP / 32u;
    for (var i = 0u; i < (count_w + MATRIX_LANES - 1u) / MATRIX_LANES; i++) {
        let at = place(lane, i, count_w);
        held.w[i] = read32(w_row(tile, n0 + at / (K_STEP / 32u)), k / 32u + at % (K_STEP / 32u));
    }
    return held;
}

// A row of a tile has K_STEP values and eight that keep rows on different banks, and aligned.
fn put(tile: Tile, n0: u32, k: u32, lane: u32, held: Held) {
    let stride = K_STEP / 4u + 2u;
    let count_x = TILE_T * K_STEP / 4u;
    for (var i = 0u; i < (count_x + MATRIX_LANES - 1u) / MATRIX_LANES; i++) {
        let at = place(lane, i, count_x);
        put_x(at / (K_STEP / 4u) * stride + at % (K_STEP / 4u), held.x[i]);
    }
    let count_w = BLOCKS_N * ACROSS * SIDE * K_STEP / 32u;
    for (var i = 0u; i < (count_w + MATRIX_LANES - 1u) / MATRIX_LANES; i++) {
        let at = place(lane, i, count_w);
        let n = at / (K_STEP / 32u);
        let chunk = at % (K_STEP / 32u);
        let row = w_row(tile, n0 + n);
        for (var j = 0u; j < 4u; j++) {
            let w = weights_of32(held.w[i], row, k / 32u + chunk, j, WEIGHT_FACTOR);
            put_w(n * stride + chunk * 8u + 2u * j, vec4<f16>(w[0]));
            put_w(n * stride + chunk * 8u + 2u * j + 1u, vec4<f16>(w[1]));
        }
    }
}

// Makes the tile's output features from n0 on; the subgroup makes block number `block`.
fn multiply(tile: Tile, n0: u32, lane: u32, block: u32) {
    for (var t = lane; t < TILE_T; t += MATRIX_LANES) {
        row_of[t] = x_row(tile, min(t, tile.count - 1u));
    }
    workgroupBarrier();
    let stride = (K_STEP + 8u) / CELL;
    let from_x = block / BLOCKS_N * 2u * SIDE * stride;
    let from_w = block % BLOCKS_N * ACROSS * SIDE * stride;
    var c00 = Sums(); var c01 = Sums(); var c02 = Sums(); var c03 = Sums();
    var c10 = Sums(); var c11 = Sums(); var c12 = Sums(); var c13 = Sums();
    var held = fetch(tile, n0, 0u, lane);
    for (var k = 0u; k < CHUNKS * 32u; k += K_STEP) {
        put(tile, n0, k, lane, held);
        workgroupBarrier();
        if AHEAD && k + K_STEP < CHUNKS * 32u {
            held = fetch(tile, n0, k + K_STEP, lane);
        }
        for (var i = 0u; i < K_STEP; i += SIDE) {
            let at_x = from_x + i / CELL;
            let at_w = from_w + i / CELL;
            let x0 = coopLoadT<MatrixX>(&tile_x[at_x], stride);
            let x1 = coopLoadT<MatrixX>(&tile_x[at_x + SIDE * stride], stride);
            let w0 = coopLoad<MatrixW>(&tile_w[at_w], stride);
            let w1 = coopLoad<MatrixW>(&tile_w[at_w + SIDE * stride], stride);
            c00 = coopMultiplyAdd(x0, w0, c00);
            c01 = coopMultiplyAdd(x0, w1, c01);
            c10 = coopMultiplyAdd(x1, w0, c10);
            c11 = coopMultiplyAdd(x1, w1, c11);
            if ACROSS == 4u {
                let w2 = coopLoad<MatrixW>(&tile_w[at_w + 2u * SIDE * stride], stride);
                let w3 = coopLoad<MatrixW>(&tile_w[at_w + 3u * SIDE * stride], stride);
                c02 = coopMultiplyAdd(x0, w2, c02);
                c03 = coopMultiplyAdd(x0, w3, c03);
                c12 = coopMultiplyAdd(x1, w2, c12);
                c13 = coopMultiplyAdd(x1, w3, c13);
            }
        }
        workgroupBarrier();
        if !AHEAD && k + K_STEP < CHUNKS * 32u {
            held = fetch(tile, n0, k + K_STEP, lane);
        }
    }
    let own = block * SIDE * SIDE;
    coopStoreT(c00, &results[own], SIDE);
    write_results(tile, n0, lane, 0u, 0u);
    coopStoreT(c01, &results[own], SIDE);
    write_results(tile, n0, lane, 0u, 1u);
    coopStoreT(c10, &results[own], SIDE);
    write_results(tile, n0, lane, 1u, 0u);
    coopStoreT(c11, &results[own], SIDE);
    write_results(tile, n0, lane, 1u, 1u);
    if ACROSS == 4u {
        coopStoreT(c02, &results[own], SIDE);
        write_results(tile, n0, lane, 0u, 2u);
        coopStoreT(c03, &results[own], SIDE);
        write_results(tile, n0, lane, 0u, 3u);
        coopStoreT(c12, &results[own], SIDE);
        write_results(tile, n0, lane, 1u, 2u);
        coopStoreT(c13, &results[own], SIDE);
        write_results(tile, n0, lane, 1u, 3u);
    }
}

// The matrices (i, j) of all blocks, which lie in `results`.
fn write_results(tile: Tile, n0: u32, lane: u32, i: u32, j: u32) {
    workgroupBarrier();
    for (var at = lane; at < RESULTS; at += MATRIX_LANES) {
        let block = at / (SIDE * SIDE);
        let t = (block / BLOCKS_N * 2u + i) * SIDE + at / SIDE % SIDE;
        if t < tile.count {
            let value = results[at] * factors[row_of[t]] / WEIGHT_FACTOR;
            let n = n0 + (block % BLOCKS_N * ACROSS + j) * SIDE + at % SIDE;
            write(y_row(tile, t) * params.y_stride + params.y_offset, n, value);
        }
    }
    workgroupBarrier();
}
