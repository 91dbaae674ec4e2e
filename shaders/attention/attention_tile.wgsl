// needs rows: Row
// needs splits: first_visible
// needs kv: HEAD_DIM, Packed, head_octets, head_quads, octet, quad_a, quad_b
// needs tile_scores: score_block, weigh
// needs four_sums: FourSums, add, rescale
// gives override: FROM_CACHE, HEADS, LINES, LANE_LINES, LANE_KEYS, KEYS, STAGE, AHEAD
// gives const: THREADS, LOWEST
// gives struct: Params, Tile
// gives var: params, q, k_cache, v_cache, k_new, v_new, rows, row_count, out, stage, seen, places, maxima, rescales
// gives fn: is_line, line_at, query, key, value, write, write_four, main

// As attention.wgsl, for steps of many rows: a workgroup serves a tile of rows times the query heads of a KV head, LINES
// of them, and reads each key and value once for all (flash attention, arXiv 2205.14135). Queries come normed and rotated.
// Keys go by blocks: LINES * KEYS scores are products of tiles of 32 dimensions in workgroup memory, 4 lines by LANE_KEYS
// keys a lane. Then weights stand there, and each lane adds up an octet of the values for LANE_LINES lines, in registers.
// Rows of a tile may belong to several slots: these take turns, with no weight for the lines of others.
// Positions before the step come from the cache; the step's own from the cache too (FROM_CACHE) or from its new rows.

override FROM_CACHE: bool = true;
override HEADS: u32 = 2;      // query heads of a workgroup
override LINES: u32 = 64;     // 16, 32 or 64; LINES / LANE_LINES lanes for each octet
override LANE_LINES: u32 = 8; // lines that a lane adds up values for: 4 or 8
override LANE_KEYS: u32 = 2;  // keys of a lane's scores: 1 or 2
override KEYS: u32 = 32;      // 1024 / LINES * LANE_KEYS, up to 64
override STAGE: u32 = 784;    // 8 * (LINES + 1 + KEYS + 1), at least LINES * KEYS / 4
// Whether lanes read values before they need them, in loops that compilers can unroll: all KEYS of a block, also of one
// that ends before. It takes more registers.
override AHEAD: bool = true;
const THREADS: u32 = 256;
const LOWEST: f32 = -3.4e38;

struct Params {
    n_heads: u32,
    heads_per_kv: u32,
    first_head: u32, // below heads_per_kv
    window: u32,     // the largest u32: all earlier positions
    capacity: u32,   // positions a slot's ring holds
    q_stride: u32,   // of q and out, a multiple of 4
    kv_stride: u32,  // quads of a cache row and a new row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;           // [rows, q_stride / 4]
@group(0) @binding(2) var<storage, read> k_cache: array<vec4<u32>>;     // [slots * capacity, kv_stride]
@group(0) @binding(3) var<storage, read> v_cache: array<vec4<u32>>;     // [slots * capacity, kv_stride]
@group(0) @binding(4) var<storage, read> k_new: array<vec4<u32>>;       // [rows, kv_stride]
@group(0) @binding(5) var<storage, read> v_new: array<vec4<u32>>;       // [rows, kv_stride]
@group(0) @binding(6) var<storage, read> rows: array<Row>;
@group(0) @binding(7) var<storage, read> row_count: u32;
@group(0) @binding(8) var<storage, read_write> out: array<vec4<f32>>;   // [rows, q_stride / 4]

// Queries [STEP, LINES + 1] and keys [STEP, KEYS + 1], with a vec4 between to spread banks; then weights [KEYS, LINES / 4].
var<workgroup> stage: array<vec4<f32>, STAGE>;
var<workgroup> seen: array<vec2<u32>, LINES>;          // by line: the positions from x to y
var<workgroup> places: array<u32, KEYS>;               // by key: its quad
var<workgroup> maxima: array<vec4<f32>, 16>;           // by four lines
var<workgroup> rescales: array<vec4<f32>, 16>;

// What a workgroup works on.
struct Tile {
    first_row: u32,
    end_row: u32,
    head: u32,    // the first query head
    n_heads: u32,
    kv_head: u32,
}

fn is_line(tile: Tile, line: u32) -> bool {
    let t = tile.first_row + line / HEADS;
    let h = line % HEADS;
    return t < tile.end_row && line < LINES / HEADS * HEADS && h < tile.n_heads && tile.head + h < params.n_heads;
}
// vec4 of q and out where a line begins.
fn line_at(tile: Tile, line: u32) -> u32 {
    return (tile.first_row + line / HEADS) * (params.q_stride / 4u) + (tile.head + line % HEADS) * (HEAD_DIM / 4u);
}
fn query(tile: Tile, line: u32, i: u32) -> vec4<f32> {
    if i < HEAD_DIM / 4u && is_line(tile, line) {
        return q[line_at(tile, line) + i];
    }
    return vec4(0.0);
}
fn key(cached: bool, at: u32, o: u32) -> Packed {
    if FROM_CACHE || cached {
        return Packed(k_cache[at + quad_a(o)], k_cache[at + quad_b(o)]);
    }
    return Packed(k_new[at + quad_a(o)], k_new[at + quad_b(o)]);
}
fn value(cached: bool, n: u32, o: u32) -> Packed {
    let at = places[n];
    if FROM_CACHE || cached {
        return Packed(v_cache[at + quad_a(o)], v_cache[at + quad_b(o)]);
    }
    return Packed(v_new[at + quad_a(o)], v_new[at + quad_b(o)]);
}

// The result of a line, an octet of it.
fn write(tile: Tile, line: u32, o: u32, lo: vec4<f32>, hi: vec4<f32>, total: f32) {
    if is_line(tile, line) && o < HEAD_DIM / 8u {
        out[line_at(tile, line) + 2u * o] = lo / total;
        out[line_at(tile, line) + 2u * o + 1u] = hi / total;
    }
}

// The result of four lines from `line` on, an octet of each.
fn write_four(tile: Tile, line: u32, o: u32, s: FourSums) {
    write(tile, line, o, s.lo0, s.hi0, s.total.x);
    write(tile, line + 1u, o, s.lo1, s.hi1, s.total.y);
    write(tile, line + 2u, o, s.lo2, s.hi2, s.total.z);
    write(tile, line + 3u, o, s.lo3, s.hi3, s.total.w);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let parts = (params.heads_per_kv + HEADS - 1u) / HEADS; // workgroups that share a KV head
    let in_group = group.x % parts * HEADS;
    let kv_head = group.x / parts;
    let head = kv_head * params.heads_per_kv + in_group - params.first_head;
    // Later rows see more: they begin first.
    let first_row = (groups.y - 1u - group.y) * (LINES / HEADS);
    let end_row = min(first_row + LINES / HEADS, row_count);
    let tile = Tile(first_row, end_row, head, min(HEADS, params.heads_per_kv - in_group), kv_head);
    let octets = head_octets();
    let column = lane % octets;
    let lines = lane / octets; // which LANE_LINES lines
    var sums: FourSums;
    var more_sums: FourSums;
    if lane < LINES / 4u {
        maxima[lane] = vec4(LOWEST);
    }
    var segment = first_row;
    while segment < end_row {
        let row = rows[segment];
        let last = min(end_row - 1u, row.first + row.last_position - row.first_position);
        let end = rows[last].position + 1u;
        // Behind the last block of the rows before.
        if lane < LINES {
            let t = first_row + lane / HEADS;
            seen[lane] = vec2(0u);
            if t >= segment && t <= last && is_line(tile, lane) {
                let position = row.position + t - segment;
                seen[lane] = vec2(first_visible(position, params.window), position + 1u);
            }
        }
        var base = first_visible(row.position, params.window);
        while base < end {
            let cached = FROM_CACHE || base < row.first_position;
            // A block comes from the cache or from new rows, not from both.
            let block_end = min(base + KEYS, select(end, min(end, row.first_position), !FROM_CACHE && cached));
            if lane < KEYS {
                let p = min(base + lane, block_end - 1u);
                let in_cache = row.slot * params.capacity + p % params.capacity;
                let own = row.first + p - row.first_position;
                places[lane] = select(own, in_cache, cached) * params.kv_stride + kv_head * head_quads();
            }
            workgroupBarrier();
            weigh(score_block(tile, cached, lane), base, block_end, lane);
            if lines < LINES / LANE_LINES {
                let four = lines * (LANE_LINES / 4u);
                rescale(&sums, rescales[four]);
                if LANE_LINES > 4u {
                    rescale(&more_sums, rescales[four + 1u]);
                }
                var v0: Packed;
                var v1: Packed;
                if AHEAD {
                    v0 = value(cached, 0u, column);
                    v1 = value(cached, 1u, column);
                }
                let n_keys = select(block_end - base, KEYS, AHEAD);
                for (var n = 0u; n < n_keys; n += 2u) {
                    if !AHEAD {
                        v0 = value(cached, n, column);
                        v1 = value(cached, n + 1u, column);
                    }
                    let a = octet(v0, column);
                    let b = octet(v1, column);
                    if AHEAD && n + 2u < KEYS {
                        v0 = value(cached, n + 2u, column);
                        v1 = value(cached, n + 3u, column);
                    }
                    let w_at = n * (LINES / 4u) + four;
                    add(&sums, stage[w_at], a);
                    add(&sums, stage[w_at + LINES / 4u], b);
                    if LANE_LINES > 4u {
                        add(&more_sums, stage[w_at + 1u], a);
                        add(&more_sums, stage[w_at + 1u + LINES / 4u], b);
                    }
                }
            }
            workgroupBarrier();
            base = block_end;
        }
        segment = last + 1u;
    }
    if lines < LINES / LANE_LINES {
        write_four(tile, LANE_LINES * lines, column, sums);
        if LANE_LINES > 4u {
            write_four(tile, LANE_LINES * lines + 4u, column, more_sums);
        }
    }
}
