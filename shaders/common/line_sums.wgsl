// part: line_sums
// needs kv: HEAD_DIM
// needs matrices: SIDE
// needs lines: put_score_quad, score_quad
// needs weigh: factors, planes
// needs around: CHUNK, MATRIX_LANES, SUBGROUPS, out, params
// gives struct: Tile
// gives fn: head_of, is_line, sums_line, sums_dim, rescale, write

// The way of attention's sums, eight matrices of each subgroup, through `scores`: to be rescaled, and out.

// What a workgroup works on.
struct Tile {
    first_row: u32,
    end_row: u32,
    kv_head: u32,
}

// A rank's number of a line's head; heads of the rank before wrap around to large ones.
fn head_of(tile: Tile, line: u32) -> u32 {
    return tile.kv_head * params.heads_per_kv + line % params.heads_per_kv - params.first_head;
}
fn is_line(tile: Tile, line: u32) -> bool {
    return tile.first_row + line / params.heads_per_kv < tile.end_row && head_of(tile, line) < params.n_heads;
}

// Lines and dimensions where number i of a subgroup's eight matrices of sums begins.
fn sums_line(i: u32) -> u32 {
    return i % (8u / planes()) / 2u * SIDE;
}
fn sums_dim(i: u32, subgroup: u32) -> u32 {
    return i / (8u / planes()) * CHUNK + (subgroup * 2u + i % 2u) * SIDE;
}

// Multiplies number i of all subgroups' matrices of sums, which stand in `scores`, with the lines' factors. (Matrices are not
// handed to functions.)
fn rescale(i: u32, lane: u32) {
    workgroupBarrier();
    for (var at = lane; at < SUBGROUPS * SIDE * SIDE / 4u; at += MATRIX_LANES) {
        put_score_quad(at, score_quad(at) * factors[sums_line(i) + at / (SIDE / 4u) % SIDE]);
    }
    workgroupBarrier();
}

// Writes number i of all subgroups' matrices of sums, which stand in `scores`.
fn write(tile: Tile, i: u32, lane: u32) {
    workgroupBarrier();
    for (var at = lane; at < SUBGROUPS * SIDE * SIDE / 4u; at += MATRIX_LANES) {
        let line = sums_line(i) + at / (SIDE / 4u) % SIDE;
        if is_line(tile, line) {
            let dim = sums_dim(i, at / (SIDE * SIDE / 4u)) + at % (SIDE / 4u) * 4u;
            let to = (tile.first_row + line / params.heads_per_kv) * params.out_stride + head_of(tile, line) * HEAD_DIM + dim;
            out[to / 4u] = score_quad(at) * factors[line];
        }
    }
    workgroupBarrier();
}
