// As attention_tile.wgsl, with both products by cooperative matrices of 16 x 16, of f16 with f32 sums, in 8 subgroups of 32
// lanes. Heads have 256 or 512 dimensions; 256 at a time (a chunk) of 32 keys or values stand in workgroup memory.
// Queries come in f16 as [KV heads, q_rows, heads of a KV head, HEAD_DIM], so that a tile's lines follow each other, and
// are loaded from there. LINES = 64: a subgroup scores 16 lines with 16 keys. LINES = 32: two share these, half of each
// chunk's dimensions each (PLANES). Then each subgroup adds up 32 dimensions of each chunk for all lines.
// Sums stay where they are while the largest score grows by less than GROWTH: weights may be as large as e^GROWTH. Beyond
// that they go through workgroup memory to be rescaled, which is rare (FlashAttention-4's way).

override FROM_CACHE: bool = true;
override HEADS: u32 = 2;   // query heads of a workgroup: all of a KV head
override LINES: u32 = 64;  // 64 for heads of 256, 32 for 512
const KEYS: u32 = 32;
const CHUNK: u32 = 256;
const THREADS: u32 = 256;
const ROW: u32 = 66;       // vec4 of a staged row, two of them to spread banks
const SCORES: u32 = 36;    // f32 of a row of scores; the last four are for partial results
const WEIGHTS: u32 = 10;   // vec4 of a row of weights
const LOWEST: f32 = -3.4e38;
const GROWTH: f32 = 8.0;

alias MatrixA = coop_mat16x16<f16, A>;
alias MatrixB = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;

struct Params {
    n_heads: u32,
    heads_per_kv: u32,
    first_head: u32, // below heads_per_kv
    window: u32,     // the largest u32: all earlier positions
    capacity: u32,   // positions a slot's ring holds
    q_rows: u32,     // rows that q has room for
    out_stride: u32,
    kv_stride: u32,  // quads of a cache row and a new row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> k_cache: array<vec4<u32>>;     // [slots * capacity, kv_stride]
@group(0) @binding(3) var<storage, read> v_cache: array<vec4<u32>>;     // [slots * capacity, kv_stride]
@group(0) @binding(4) var<storage, read> k_new: array<vec4<u32>>;       // [rows, kv_stride]
@group(0) @binding(5) var<storage, read> v_new: array<vec4<u32>>;       // [rows, kv_stride]
@group(0) @binding(6) var<storage, read> rows: array<Row>;
@group(0) @binding(7) var<storage, read> row_count: u32;
@group(0) @binding(8) var<storage, read_write> out: array<f32>;         // [rows, out_stride]

var<workgroup> stage: array<vec4<f16>, 2112>;      // [KEYS, ROW]
var<workgroup> scores: array<f32, 2304>;           // [64, SCORES]: lines, or lines of both planes; also tiles of sums
var<workgroup> weights: array<vec4<f16>, 640>;     // [LINES, WEIGHTS]
var<workgroup> seen: array<vec2<u32>, 64>;         // by line: the positions from x to y
var<workgroup> factors: array<f32, 64>;            // by line
var<workgroup> has_grown: u32;

// What a workgroup works on.
struct Tile {
    first_row: u32,
    end_row: u32,
    kv_head: u32,
}

// A block of keys: positions from `base` to `end`, and where they come from.
struct Block {
    row: Row,
    base: u32,
    end: u32,
    cached: bool,
}

// A rank's number of a line's head; heads of the rank before wrap around to large ones.
fn head_of(tile: Tile, line: u32) -> u32 {
    return tile.kv_head * params.heads_per_kv + line % HEADS - params.first_head;
}
fn is_line(tile: Tile, line: u32) -> bool {
    let t = tile.first_row + line / HEADS;
    return t < tile.end_row && line < LINES / HEADS * HEADS && head_of(tile, line) < params.n_heads;
}

fn block_at(row: Row, base: u32, end: u32) -> Block {
    let cached = FROM_CACHE || base < row.first_position;
    // A block comes from the cache or from new rows, not from both.
    let border = select(end, min(end, row.first_position), !FROM_CACHE && cached);
    return Block(row, base, min(base + KEYS, border), cached);
}
// Quad of the head of the block's position n, or of its last.
fn place(tile: Tile, block: Block, n: u32) -> u32 {
    let p = min(block.base + n, block.end - 1u);
    let in_cache = block.row.slot * params.capacity + p % params.capacity;
    let own = block.row.first + p - block.row.first_position;
    return select(own, in_cache, block.cached) * params.kv_stride + tile.kv_head * head_quads();
}

// Four octets of a chunk on their way: octet lane % 32 of every eighth row.
struct Held {
    rows: array<Packed, 4>,
}

fn fetch_keys(tile: Tile, block: Block, chunk: u32, lane: u32) -> Held {
    var held: Held;
    let o = chunk * (CHUNK / 8u) + lane % 32u;
    for (var i = 0u; i < 4u; i++) {
        let at = place(tile, block, 8u * i + lane / 32u);
        if FROM_CACHE || block.cached {
            held.rows[i] = Packed(k_cache[at + quad_a(o)], k_cache[at + quad_b(o)]);
        } else {
            held.rows[i] = Packed(k_new[at + quad_a(o)], k_new[at + quad_b(o)]);
        }
    }
    return held;
}

fn fetch_values(tile: Tile, block: Block, chunk: u32, lane: u32) -> Held {
    var held: Held;
    let o = chunk * (CHUNK / 8u) + lane % 32u;
    for (var i = 0u; i < 4u; i++) {
        let at = place(tile, block, 8u * i + lane / 32u);
        if FROM_CACHE || block.cached {
            held.rows[i] = Packed(v_cache[at + quad_a(o)], v_cache[at + quad_b(o)]);
        } else {
            held.rows[i] = Packed(v_new[at + quad_a(o)], v_new[at + quad_b(o)]);
        }
    }
    return held;
}

fn put(held: Held, chunk: u32, lane: u32) {
    let o = chunk * (CHUNK / 8u) + lane % 32u;
    for (var i = 0u; i < 4u; i++) {
        let values = octet(held.rows[i], o);
        let at = (8u * i + lane / 32u) * ROW + 2u * (lane % 32u);
        stage[at] = vec4<f16>(values.lo);
        stage[at + 1u] = vec4<f16>(values.hi);
    }
}

// Place in `scores` of partial result number `part` of a line, of 4 where there are 64 lines and 8 where there are 32.
fn part_at(line: u32, part: u32) -> u32 {
    return (line + part / 4u * LINES) * SCORES + 32u + part % 4u;
}

// The lane's part of a line: its largest score and the sum of its weights so far.
struct Line {
    reference: f32,
    total: f32,
}

// Weights of a block from its scores. THREADS / LINES lanes serve a line, four or eight keys each.
fn weigh(block: Block, state: Line, lane: u32) -> Line {
    let lanes = THREADS / LINES;
    let line = lane / lanes;
    let part = lane % lanes;
    let first = part * (KEYS / lanes);
    var largest = LOWEST;
    for (var i = 0u; i < KEYS / lanes; i++) {
        let at = line * SCORES + first + i;
        var s = scores[at];
        if LINES == 32u {
            s += scores[at + 32u * SCORES];
        }
        let p = block.base + first + i;
        let is_seen = p >= seen[line].x && p < min(seen[line].y, block.end);
        s = select(LOWEST, s, is_seen);
        scores[at] = s;
        largest = max(largest, s);
    }
    scores[part_at(line, part)] = largest;
    workgroupBarrier();
    for (var i = 0u; i < lanes; i++) {
        largest = max(largest, scores[part_at(line, i)]);
    }
    let has_seen = state.reference > LOWEST;
    let grows = largest > state.reference + GROWTH || !has_seen;
    let reference = select(state.reference, largest, grows);
    let factor = select(1.0, exp(state.reference - reference), has_seen && grows);
    if part == 0u {
        factors[line] = factor;
        if factor != 1.0 {
            has_grown = 1u;
        }
    }
    var total = state.total * factor;
    for (var i = 0u; i < KEYS / lanes; i += 4u) {
        let at = line * SCORES + first + i;
        let s = vec4(scores[at], scores[at + 1u], scores[at + 2u], scores[at + 3u]);
        let w = vec4<f16>(select(exp(s - reference), vec4(0.0), s == vec4(LOWEST)));
        weights[line * WEIGHTS + (first + i) / 4u] = w;
        total += dot(vec4<f32>(w), vec4(1.0));
    }
    return Line(reference, total);
}

// Number i of a subgroup's eight tiles of sums: 16 lines, and 16 dimensions of a chunk.
fn tile_line(i: u32) -> u32 {
    return select(i % 4u / 2u, i / 2u, LINES == 64u) * 16u;
}
fn tile_dim(i: u32, subgroup: u32) -> u32 {
    return select(i / 4u, 0u, LINES == 64u) * CHUNK + subgroup * 32u + i % 2u * 16u;
}

// Multiplies the sums' tile number i with the lines' factors. All subgroups do the same tile, each with its own sums.
fn rescaled(sums: Sums, i: u32, subgroup: u32, lane: u32) -> Sums {
    workgroupBarrier();
    coopStoreT(sums, &scores[subgroup * 256u], 16u);
    workgroupBarrier();
    for (var at = lane; at < 2048u; at += THREADS) {
        scores[at] *= factors[tile_line(i) + at / 16u % 16u];
    }
    workgroupBarrier();
    return coopLoadT<Sums>(&scores[subgroup * 256u], 16u);
}

// Writes the sums' tile number i, of all subgroups.
fn write(tile: Tile, sums: Sums, i: u32, subgroup: u32, lane: u32) {
    workgroupBarrier();
    coopStoreT(sums, &scores[subgroup * 256u], 16u);
    workgroupBarrier();
    for (var at = lane; at < 2048u; at += THREADS) {
        let line = tile_line(i) + at / 16u % 16u;
        if is_line(tile, line) {
            let to = (tile.first_row + line / HEADS) * params.out_stride + head_of(tile, line) * HEAD_DIM;
            out[to + tile_dim(i, at / 256u) + at % 16u] = scores[at] * factors[line];
        }
    }
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup_id: u32,
) {
    let subgroup = subgroup_id % 8u;
    let n_chunks = HEAD_DIM / CHUNK;
    // Later rows see more: they begin first.
    let first_row = (groups.y - 1u - group.y) * (LINES / HEADS);
    let tile = Tile(first_row, min(first_row + LINES / HEADS, row_count), group.x);
    let n_tiles = LINES / 8u; // of scores in a plane
    let score_line = subgroup % n_tiles / 2u * 16u;
    let score_key = subgroup % 2u * 16u;
    let plane = subgroup / n_tiles;
    let steps = CHUNK / (8u / n_tiles);
    let q_at = ((group.x * params.q_rows + first_row) * HEADS + score_line) * (HEAD_DIM / 4u);
    var line = Line(LOWEST, 0.0);
    var c0 = Sums(); var c1 = Sums(); var c2 = Sums(); var c3 = Sums();
    var c4 = Sums(); var c5 = Sums(); var c6 = Sums(); var c7 = Sums();
    var segment = first_row;
    while segment < tile.end_row {
        let row = rows[segment];
        let last = min(tile.end_row - 1u, row.first + row.last_position - row.first_position);
        let end = rows[last].position + 1u;
        workgroupBarrier();
        if lane < LINES {
            let t = first_row + lane / HEADS;
            let position = row.position + t - segment;
            let is_here = t >= segment && t <= last && is_line(tile, lane);
            seen[lane] = select(vec2(0u), vec2(first_visible(position, params.window), position + 1u), is_here);
        }
        var base = first_visible(row.position, params.window);
        var held = fetch_keys(tile, block_at(row, base, end), 0u, lane);
        while base < end {
            let block = block_at(row, base, end);
            var s = Sums();
            for (var chunk = 0u; chunk < n_chunks; chunk++) {
                workgroupBarrier();
                put(held, chunk, lane);
                if lane == 0u {
                    has_grown = 0u;
                }
                workgroupBarrier();
                if chunk + 1u < n_chunks {
                    held = fetch_keys(tile, block, chunk + 1u, lane);
                } else {
                    held = fetch_values(tile, block, 0u, lane);
                }
                for (var i = plane * steps; i < (plane + 1u) * steps; i += 16u) {
                    let x = coopLoadT<MatrixA>(&q[q_at + (chunk * CHUNK + i) / 4u], HEAD_DIM / 4u);
                    let w = coopLoad<MatrixB>(&stage[score_key * ROW + i / 4u], ROW);
                    s = coopMultiplyAdd(x, w, s);
                }
            }
            coopStoreT(s, &scores[(plane * LINES + score_line) * SCORES + score_key], SCORES);
            workgroupBarrier();
            line = weigh(block, line, lane);
            if workgroupUniformLoad(&has_grown) != 0u {
                c0 = rescaled(c0, 0u, subgroup, lane);
                c1 = rescaled(c1, 1u, subgroup, lane);
                c2 = rescaled(c2, 2u, subgroup, lane);
                c3 = rescaled(c3, 3u, subgroup, lane);
                c4 = rescaled(c4, 4u, subgroup, lane);
                c5 = rescaled(c5, 5u, subgroup, lane);
                c6 = rescaled(c6, 6u, subgroup, lane);
                c7 = rescaled(c7, 7u, subgroup, lane);
            }
            for (var chunk = 0u; chunk < n_chunks; chunk++) {
                put(held, chunk, lane);
                workgroupBarrier();
                if chunk + 1u < n_chunks {
                    held = fetch_values(tile, block, chunk + 1u, lane);
                } else if block.end < end {
                    held = fetch_keys(tile, block_at(row, block.end, end), 0u, lane);
                }
                for (var i = 0u; i < KEYS; i += 16u) {
                    let v0 = coopLoadT<MatrixB>(&stage[i * ROW + subgroup * 8u], ROW);
                    let v1 = coopLoadT<MatrixB>(&stage[i * ROW + subgroup * 8u + 4u], ROW);
                    let w0 = coopLoadT<MatrixA>(&weights[i / 4u], WEIGHTS);
                    let w1 = coopLoadT<MatrixA>(&weights[16u * WEIGHTS + i / 4u], WEIGHTS);
                    if LINES == 64u {
                        let w2 = coopLoadT<MatrixA>(&weights[32u * WEIGHTS + i / 4u], WEIGHTS);
                        let w3 = coopLoadT<MatrixA>(&weights[48u * WEIGHTS + i / 4u], WEIGHTS);
                        c4 = coopMultiplyAdd(w2, v0, c4);
                        c5 = coopMultiplyAdd(w2, v1, c5);
                        c6 = coopMultiplyAdd(w3, v0, c6);
                        c7 = coopMultiplyAdd(w3, v1, c7);
                    }
                    c0 = coopMultiplyAdd(w0, v0, c0);
                    c1 = coopMultiplyAdd(w0, v1, c1);
                    c2 = coopMultiplyAdd(w1, v0, c2);
                    c3 = coopMultiplyAdd(w1, v1, c3);
                }
                workgroupBarrier();
                // With 32 lines the other four tiles are those of the other chunk: they change places twice.
                if LINES == 32u {
                    let t0 = c0; let t1 = c1; let t2 = c2; let t3 = c3;
                    c0 = c4; c1 = c5; c2 = c6; c3 = c7;
                    c4 = t0; c5 = t1; c6 = t2; c7 = t3;
                }
            }
            base = block.end;
        }
        segment = last + 1u;
    }
    workgroupBarrier();
    scores[part_at(lane / (THREADS / LINES), lane % (THREADS / LINES))] = line.total;
    workgroupBarrier();
    if lane < LINES {
        var total = 0.0;
        for (var i = 0u; i < THREADS / LINES; i++) {
            total += scores[part_at(lane, i)];
        }
        factors[lane] = 1.0 / total;
    }
    write(tile, c0, 0u, subgroup, lane);
    write(tile, c1, 1u, subgroup, lane);
    write(tile, c2, 2u, subgroup, lane);
    write(tile, c3, 3u, subgroup, lane);
    write(tile, c4, 4u, subgroup, lane);
    write(tile, c5, 5u, subgroup, lane);
    write(tile, c6, 6u, subgroup, lane);
    write(tile, c7, 7u, subgroup, lane);
}
