// needs enable_matrix: wgpu_cooperative_matrix
// needs rows: Row
// needs splits: first_visible
// needs kv: HEAD_DIM
// needs matrices: CELL, MatrixW, MatrixX, SIDE, Sums, tile_w, tile_x
// needs lines: put_score, q, score, scores
// needs kv_blocks: block_at, fetch_keys, fetch_values, put
// needs weigh: LOWEST, Line, factors, has_grown, part_at, parts, planes, score_quads, seen, weigh
// needs line_sums: Tile, is_line, rescale, write
// gives override: FROM_CACHE, LINES, MATRIX_LANES, AHEAD
// gives const: SUBGROUPS, KEYS, CHUNK, SCORES, CELLS_X, CELLS_W, CELLS_S
// gives struct: Params
// gives var: params, k_cache, v_cache, k_new, v_new, rows, row_count, out
// gives fn: main

// As attention_tile.wgsl, with both products by cooperative matrices of f16 with f32 sums, in 8 subgroups. What follows is
// for matrices of 16 x 16; with 8 x 8 every number of dimensions, keys and lines is half as large.
// Heads have 256 or 512 dimensions; 256 at a time (a chunk) of 32 keys or values stand in tile_w, weights in tile_x. Lines
// are query heads of a KV head, row by row. 64 lines: a subgroup scores 16 of them with 16 keys. 32 lines: two subgroups
// share these, half of each chunk's dimensions each. Then each adds up 32 dimensions of each chunk for all lines, in
// matrices that stay where they are from block to block. They go through `scores` where they must be rescaled.
//
// Cooperative loads and stores need addresses that are multiples of 16 bytes. Drivers place variables of workgroup memory
// behind each other, so that each of them must be as long: a lone u32 made NaN on an H200.

override FROM_CACHE: bool = true;
override LINES: u32 = 64;           // 64 for heads of one chunk, 32 for two
override MATRIX_LANES: u32 = 256;   // of 8 subgroups at least
// Whether four squares of queries and of keys are read before they are multiplied: it takes more registers.
override AHEAD: bool = true;
const SUBGROUPS: u32 = 8;
const KEYS: u32 = 2u * SIDE;
const CHUNK: u32 = 16u * SIDE;
const SCORES: u32 = KEYS + 4u;      // of a line, with what its lanes tell each other
const CELLS_X: u32 = 4u * SIDE * (KEYS + 8u) / CELL;
const CELLS_W: u32 = KEYS * (CHUNK + 8u) / CELL;
const CELLS_S: u32 = 4u * SIDE * SCORES / CELL;

struct Params {
    n_heads: u32,
    heads_per_kv: u32, // LINES is a multiple of it
    first_head: u32, // below heads_per_kv
    window: u32,     // the largest u32: all earlier positions
    capacity: u32,   // positions a slot's ring holds
    q_lines: u32,    // lines of a KV head that q has room for
    out_stride: u32, // a multiple of 4
    kv_stride: u32,  // quads of a cache row and a new row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> k_cache: array<vec4<u32>>;     // [slots * capacity, kv_stride]
@group(0) @binding(3) var<storage, read> v_cache: array<vec4<u32>>;     // [slots * capacity, kv_stride]
@group(0) @binding(4) var<storage, read> k_new: array<vec4<u32>>;       // [rows, kv_stride]
@group(0) @binding(5) var<storage, read> v_new: array<vec4<u32>>;       // [rows, kv_stride]
@group(0) @binding(6) var<storage, read> rows: array<Row>;
@group(0) @binding(7) var<storage, read> row_count: u32;
@group(0) @binding(8) var<storage, read_write> out: array<vec4<f32>>;   // [rows, out_stride / 4]

@compute @workgroup_size(MATRIX_LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup_id: u32,
) {
    // More subgroups repeat the first ones' work.
    let subgroup = subgroup_id % SUBGROUPS;
    let kv_head = group.x;
    let n_chunks = HEAD_DIM / CHUNK;
    // Later rows see more: they begin first.
    let first_row = (groups.y - 1u - group.y) * (LINES / params.heads_per_kv);
    let tile = Tile(first_row, min(first_row + LINES / params.heads_per_kv, row_count), kv_head);
    // Where the subgroup's matrices lie.
    let score_line = subgroup / 2u * SIDE % LINES;
    let score_key = subgroup % 2u * SIDE;
    let plane = subgroup / 2u * SIDE / LINES;
    let scores_at = ((plane * LINES + score_line) * SCORES + score_key) / CELL;
    let q_at = (kv_head * params.q_lines + first_row * params.heads_per_kv + score_line) * (HEAD_DIM / CELL);
    let own = subgroup * (SIDE * SIDE / CELL);
    let square = SIDE * SIDE / CELL;
    let w_row = (CHUNK + 8u) / CELL;
    let x_row = (KEYS + 8u) / CELL;
    var line = Line(LOWEST, 0.0);
    var c0 = Sums(); var c1 = Sums(); var c2 = Sums(); var c3 = Sums();
    var c4 = Sums(); var c5 = Sums(); var c6 = Sums(); var c7 = Sums();
    // Rows of a tile may belong to several slots: these take turns.
    var segment = first_row;
    while segment < tile.end_row {
        let row = rows[segment];
        let last = min(tile.end_row - 1u, row.first + row.last_position - row.first_position);
        let end = rows[last].position + 1u;
        workgroupBarrier();
        if lane < LINES {
            let t = first_row + lane / params.heads_per_kv;
            let position = row.position + t - segment;
            let is_here = t >= segment && t <= last && is_line(tile, lane);
            seen[lane] = select(vec2(0u), vec2(first_visible(position, params.window), position + 1u), is_here);
        }
        var block = block_at(row, first_visible(row.position, params.window), end);
        var held = fetch_keys(block, kv_head, 0u, lane);
        while block.base < end {
            var s = Sums();
            for (var chunk = 0u; chunk < n_chunks; chunk++) {
                workgroupBarrier();
                put(held, chunk, lane);
                if lane == 0u {
                    has_grown.x = 0u;
                }
                workgroupBarrier();
                // What comes next is on its way while this is multiplied.
                if chunk + 1u < n_chunks {
                    held = fetch_keys(block, kv_head, chunk + 1u, lane);
                } else {
                    held = fetch_values(block, kv_head, 0u, lane);
                }
                let dims = CHUNK / planes();
                for (var i = plane * dims; i < (plane + 1u) * dims; i += 4u * SIDE) {
                    let x_at = q_at + (chunk * CHUNK + i) / SIDE * square;
                    let w_at = score_key * w_row + i / CELL;
                    if AHEAD {
                        let x0 = coopLoadT<MatrixX>(&q[x_at], SIDE / CELL);
                        let x1 = coopLoadT<MatrixX>(&q[x_at + square], SIDE / CELL);
                        let x2 = coopLoadT<MatrixX>(&q[x_at + 2u * square], SIDE / CELL);
                        let x3 = coopLoadT<MatrixX>(&q[x_at + 3u * square], SIDE / CELL);
                        let w0 = coopLoad<MatrixW>(&tile_w[w_at], w_row);
                        let w1 = coopLoad<MatrixW>(&tile_w[w_at + SIDE / CELL], w_row);
                        let w2 = coopLoad<MatrixW>(&tile_w[w_at + 2u * SIDE / CELL], w_row);
                        let w3 = coopLoad<MatrixW>(&tile_w[w_at + 3u * SIDE / CELL], w_row);
                        s = coopMultiplyAdd(x0, w0, s);
                        s = coopMultiplyAdd(x1, w1, s);
                        s = coopMultiplyAdd(x2, w2, s);
                        s = coopMultiplyAdd(x3, w3, s);
                    } else {
                        for (var part = 0u; part < 4u; part++) {
                            let x = coopLoadT<MatrixX>(&q[x_at + part * square], SIDE / CELL);
                            let w = coopLoad<MatrixW>(&tile_w[w_at + part * SIDE / CELL], w_row);
                            s = coopMultiplyAdd(x, w, s);
                        }
                    }
                }
            }
            coopStoreT(s, &scores[scores_at], SCORES / CELL);
            workgroupBarrier();
            let quads = score_quads(block, lane);
            put(held, 0u, lane);
            workgroupBarrier();
            line = weigh(quads, line, lane);
            let next = block_at(row, block.end, end);
            if n_chunks > 1u {
                held = fetch_values(block, kv_head, 1u, lane);
            } else if block.end < end {
                held = fetch_keys(next, kv_head, 0u, lane);
            }
            if workgroupUniformLoad(&has_grown).x != 0u {
                coopStoreT(c0, &scores[own], SIDE / CELL);
                rescale(0u, lane);
                c0 = coopLoadT<Sums>(&scores[own], SIDE / CELL);
                coopStoreT(c1, &scores[own], SIDE / CELL);
                rescale(1u, lane);
                c1 = coopLoadT<Sums>(&scores[own], SIDE / CELL);
                coopStoreT(c2, &scores[own], SIDE / CELL);
                rescale(2u, lane);
                c2 = coopLoadT<Sums>(&scores[own], SIDE / CELL);
                coopStoreT(c3, &scores[own], SIDE / CELL);
                rescale(3u, lane);
                c3 = coopLoadT<Sums>(&scores[own], SIDE / CELL);
                coopStoreT(c4, &scores[own], SIDE / CELL);
                rescale(4u, lane);
                c4 = coopLoadT<Sums>(&scores[own], SIDE / CELL);
                coopStoreT(c5, &scores[own], SIDE / CELL);
                rescale(5u, lane);
                c5 = coopLoadT<Sums>(&scores[own], SIDE / CELL);
                coopStoreT(c6, &scores[own], SIDE / CELL);
                rescale(6u, lane);
                c6 = coopLoadT<Sums>(&scores[own], SIDE / CELL);
                coopStoreT(c7, &scores[own], SIDE / CELL);
                rescale(7u, lane);
                c7 = coopLoadT<Sums>(&scores[own], SIDE / CELL);
            }
            for (var chunk = 0u; chunk < n_chunks; chunk++) {
                if chunk > 0u {
                    workgroupBarrier();
                    put(held, chunk, lane);
                    workgroupBarrier();
                    if block.end < end {
                        held = fetch_keys(next, kv_head, 0u, lane);
                    }
                }
                for (var i = 0u; i < KEYS; i += SIDE) {
                    let w_at = i * w_row + subgroup * (2u * SIDE / CELL);
                    let x_at = i / CELL;
                    let v0 = coopLoadT<MatrixW>(&tile_w[w_at], w_row);
                    let v1 = coopLoadT<MatrixW>(&tile_w[w_at + SIDE / CELL], w_row);
                    let x0 = coopLoadT<MatrixX>(&tile_x[x_at], x_row);
                    let x1 = coopLoadT<MatrixX>(&tile_x[x_at + SIDE * x_row], x_row);
                    c0 = coopMultiplyAdd(x0, v0, c0);
                    c1 = coopMultiplyAdd(x0, v1, c1);
                    c2 = coopMultiplyAdd(x1, v0, c2);
                    c3 = coopMultiplyAdd(x1, v1, c3);
                    if planes() == 1u {
                        let x2 = coopLoadT<MatrixX>(&tile_x[x_at + 2u * SIDE * x_row], x_row);
                        let x3 = coopLoadT<MatrixX>(&tile_x[x_at + 3u * SIDE * x_row], x_row);
                        c4 = coopMultiplyAdd(x2, v0, c4);
                        c5 = coopMultiplyAdd(x2, v1, c5);
                        c6 = coopMultiplyAdd(x3, v0, c6);
                        c7 = coopMultiplyAdd(x3, v1, c7);
                    }
                }
                // With two chunks the other four matrices are those of the other one: they change places twice.
                if planes() == 2u {
                    let t0 = c0; let t1 = c1; let t2 = c2; let t3 = c3;
                    c0 = c4; c1 = c5; c2 = c6; c3 = c7;
                    c4 = t0; c5 = t1; c6 = t2; c7 = t3;
                }
            }
            block = next;
        }
        segment = last + 1u;
    }
    workgroupBarrier();
    if lane / parts() < LINES {
        put_score(part_at(lane / parts(), lane % parts()), line.total);
    }
    workgroupBarrier();
    if lane < LINES {
        var total = 0.0;
        for (var part = 0u; part < parts(); part++) {
            total += score(part_at(lane, part));
        }
        factors[lane] = 1.0 / total;
    }
    workgroupBarrier();
    coopStoreT(c0, &scores[own], SIDE / CELL);
    write(tile, 0u, lane);
    coopStoreT(c1, &scores[own], SIDE / CELL);
    write(tile, 1u, lane);
    coopStoreT(c2, &scores[own], SIDE / CELL);
    write(tile, 2u, lane);
    coopStoreT(c3, &scores[own], SIDE / CELL);
    write(tile, 3u, lane);
    coopStoreT(c4, &scores[own], SIDE / CELL);
    write(tile, 4u, lane);
    coopStoreT(c5, &scores[own], SIDE / CELL);
    write(tile, 5u, lane);
    coopStoreT(c6, &scores[own], SIDE / CELL);
    write(tile, 6u, lane);
    coopStoreT(c7, &scores[own], SIDE / CELL);
    write(tile, 7u, lane);
}
