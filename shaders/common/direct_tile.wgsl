// part: direct_tile
// needs product: params, x
// needs weights: weights8
// needs tile: Tile, w_row
// needs lane_tile: LANES_N, LANES_T, ROWS, Sums
// needs tiles: add, x_at
// gives fn: add_direct

// Lane tiles in f32 of which each lane reads both operands from storage for itself: 4 or 8 rows, and 8 output features.

fn add_direct(
    tile: Tile,
    n: u32,
    lane_t: u32,
    low: ptr<function, Sums>,
    low_more: ptr<function, Sums>,
    high: ptr<function, Sums>,
    high_more: ptr<function, Sums>,
) {
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
        let a = array(w0[0], w1[0], w2[0], w3[0]);
        let b = array(w0[1], w1[1], w2[1], w3[1]);
        let c = array(w4[0], w5[0], w6[0], w7[0]);
        let d = array(w4[1], w5[1], w6[1], w7[1]);
        add(low, x[t0 + k], x[t1 + k], x[t2 + k], x[t3 + k], a);
        add(low_more, x[t0 + k], x[t1 + k], x[t2 + k], x[t3 + k], c);
        add(low, x[t0 + k + 1u], x[t1 + k + 1u], x[t2 + k + 1u], x[t3 + k + 1u], b);
        add(low_more, x[t0 + k + 1u], x[t1 + k + 1u], x[t2 + k + 1u], x[t3 + k + 1u], d);
        if ROWS == 8u {
            add(high, x[t4 + k], x[t5 + k], x[t6 + k], x[t7 + k], a);
            add(high_more, x[t4 + k], x[t5 + k], x[t6 + k], x[t7 + k], c);
            add(high, x[t4 + k + 1u], x[t5 + k + 1u], x[t6 + k + 1u], x[t7 + k + 1u], b);
            add(high_more, x[t4 + k + 1u], x[t5 + k + 1u], x[t6 + k + 1u], x[t7 + k + 1u], d);
        }
    }
}
