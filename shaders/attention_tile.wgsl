// As attention.wgsl, for steps of many rows: a workgroup serves a tile of rows times the query heads of a KV head, LINES
// of them, and reads each key and value once for all (flash attention, arXiv 2205.14135). Queries come normed and rotated.
// Keys go by blocks: scores of LINES * KEYS = 2048 are products of tiles of 32 dimensions in workgroup memory, 4 lines by 2
// keys a lane. Then weights stand there, and each lane adds up an octet of the values for 8 lines, in registers.
// Rows of a tile may belong to several slots: these take turns, with no weight for the lines of others.
// Positions before the step come from the cache; the step's own from the cache too (FROM_CACHE) or from its new rows.

override FROM_CACHE: bool = true;
override HEADS: u32 = 2;      // query heads of a workgroup
override LINES: u32 = 64;     // 32 or 64; LINES / 8 lanes for each octet
override KEYS: u32 = 32;      // 2048 / LINES
override STAGE: u32 = 784;    // 8 * (LINES + 1 + KEYS + 1), at least 512
const THREADS: u32 = 256;
const STEP: u32 = 8;          // vec4 of a head that stand in workgroup memory at a time
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

// Scores of four lines with the lane's two keys: KEYS / 2 lanes for each four lines.
struct Scores {
    a: vec4<f32>,
    b: vec4<f32>,
}

fn score_block(tile: Tile, cached: bool, lane: u32) -> Scores {
    let keys_at = STEP * (LINES + 1u);
    // What a lane brings to workgroup memory: a vec4 of a line, two where there are 64, and an octet of a key.
    let line = lane / STEP;
    let i = lane % STEP;
    let n = lane / 4u;
    let o = lane % 4u;
    let row = lane / (KEYS / 2u) * 4u;
    let column = keys_at + lane % (KEYS / 2u);
    var s = Scores(vec4(0.0), vec4(0.0));
    var k: Packed;
    if n < KEYS {
        k = key(cached, places[n], o);
    }
    var q0 = query(tile, line, i);
    var q1 = query(tile, line + 32u, i);
    for (var step = 0u; step < 2u * head_octets(); step += STEP) {
        workgroupBarrier();
        stage[i * (LINES + 1u) + line] = q0;
        if LINES > 32u {
            stage[i * (LINES + 1u) + line + 32u] = q1;
        }
        if n < KEYS {
            let of_key = octet(k, step / 2u + o);
            stage[keys_at + 2u * o * (KEYS + 1u) + n] = of_key.lo;
            stage[keys_at + (2u * o + 1u) * (KEYS + 1u) + n] = of_key.hi;
        }
        workgroupBarrier();
        // The next ones come while these are multiplied.
        if step + STEP < 2u * head_octets() {
            if n < KEYS {
                k = key(cached, places[n], (step + STEP) / 2u + o);
            }
            q0 = query(tile, line, step + STEP + i);
            if LINES > 32u {
                q1 = query(tile, line + 32u, step + STEP + i);
            }
        }
        for (var j = 0u; j < STEP; j++) {
            let x_at = j * (LINES + 1u) + row;
            let x0 = stage[x_at];
            let x1 = stage[x_at + 1u];
            let x2 = stage[x_at + 2u];
            let x3 = stage[x_at + 3u];
            let ka = stage[column + j * (KEYS + 1u)];
            let kb = stage[column + j * (KEYS + 1u) + KEYS / 2u];
            s.a += vec4(dot(x0, ka), dot(x1, ka), dot(x2, ka), dot(x3, ka));
            s.b += vec4(dot(x0, kb), dot(x1, kb), dot(x2, kb), dot(x3, kb));
        }
    }
    workgroupBarrier();
    return s;
}

// Which of four lines from `line` on see position p of the block.
fn sees(line: u32, p: u32, block_end: u32) -> vec4<bool> {
    let first = vec4(seen[line].x, seen[line + 1u].x, seen[line + 2u].x, seen[line + 3u].x);
    let end = vec4(seen[line].y, seen[line + 1u].y, seen[line + 2u].y, seen[line + 3u].y);
    return (vec4(p) >= first) & (vec4(p) < min(end, vec4(block_end)));
}

// Weights of a block from its scores, in workgroup memory; maxima and what the sums so far must be multiplied with.
fn weigh(s: Scores, base: u32, block_end: u32, lane: u32) {
    let four = lane / (KEYS / 2u);
    let n = lane % (KEYS / 2u);
    let a = select(vec4(LOWEST), s.a, sees(4u * four, base + n, block_end));
    let b = select(vec4(LOWEST), s.b, sees(4u * four, base + n + KEYS / 2u, block_end));
    stage[n * (LINES / 4u) + four] = a;
    stage[(n + KEYS / 2u) * (LINES / 4u) + four] = b;
    workgroupBarrier();
    if lane < LINES / 4u {
        var largest = maxima[lane];
        for (var i = 0u; i < KEYS; i++) {
            largest = max(largest, stage[i * (LINES / 4u) + lane]);
        }
        rescales[lane] = exp(maxima[lane] - largest);
        maxima[lane] = largest;
    }
    workgroupBarrier();
    let largest = maxima[four];
    // A line that has seen nothing yet has no maximum either: its scores are all equal to it.
    stage[n * (LINES / 4u) + four] = select(exp(a - largest), vec4(0.0), a == vec4(LOWEST));
    stage[(n + KEYS / 2u) * (LINES / 4u) + four] = select(exp(b - largest), vec4(0.0), b == vec4(LOWEST));
    workgroupBarrier();
}

// Sums of an octet of the values, and of the weights, for 8 lines.
struct Sums {
    lo0: vec4<f32>, hi0: vec4<f32>, lo1: vec4<f32>, hi1: vec4<f32>, lo2: vec4<f32>, hi2: vec4<f32>,
    lo3: vec4<f32>, hi3: vec4<f32>, lo4: vec4<f32>, hi4: vec4<f32>, lo5: vec4<f32>, hi5: vec4<f32>,
    lo6: vec4<f32>, hi6: vec4<f32>, lo7: vec4<f32>, hi7: vec4<f32>,
    total_a: vec4<f32>, total_b: vec4<f32>,
}

fn add(s: ptr<function, Sums>, n: u32, eight: u32, v: Octet) {
    let a = stage[n * (LINES / 4u) + 2u * eight];
    let b = stage[n * (LINES / 4u) + 2u * eight + 1u];
    (*s).lo0 += a.x * v.lo;
    (*s).hi0 += a.x * v.hi;
    (*s).lo1 += a.y * v.lo;
    (*s).hi1 += a.y * v.hi;
    (*s).lo2 += a.z * v.lo;
    (*s).hi2 += a.z * v.hi;
    (*s).lo3 += a.w * v.lo;
    (*s).hi3 += a.w * v.hi;
    (*s).lo4 += b.x * v.lo;
    (*s).hi4 += b.x * v.hi;
    (*s).lo5 += b.y * v.lo;
    (*s).hi5 += b.y * v.hi;
    (*s).lo6 += b.z * v.lo;
    (*s).hi6 += b.z * v.hi;
    (*s).lo7 += b.w * v.lo;
    (*s).hi7 += b.w * v.hi;
    (*s).total_a += a;
    (*s).total_b += b;
}

fn rescale(s: ptr<function, Sums>, eight: u32) {
    let a = rescales[2u * eight];
    let b = rescales[2u * eight + 1u];
    (*s).lo0 *= a.x;
    (*s).hi0 *= a.x;
    (*s).lo1 *= a.y;
    (*s).hi1 *= a.y;
    (*s).lo2 *= a.z;
    (*s).hi2 *= a.z;
    (*s).lo3 *= a.w;
    (*s).hi3 *= a.w;
    (*s).lo4 *= b.x;
    (*s).hi4 *= b.x;
    (*s).lo5 *= b.y;
    (*s).hi5 *= b.y;
    (*s).lo6 *= b.z;
    (*s).hi6 *= b.z;
    (*s).lo7 *= b.w;
    (*s).hi7 *= b.w;
    (*s).total_a *= a;
    (*s).total_b *= b;
}

// The result of a line, an octet of it.
fn write(tile: Tile, line: u32, o: u32, lo: vec4<f32>, hi: vec4<f32>, total: f32) {
    if is_line(tile, line) && o < HEAD_DIM / 8u {
        out[line_at(tile, line) + 2u * o] = lo / total;
        out[line_at(tile, line) + 2u * o + 1u] = hi / total;
    }
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
    let eight = lane / octets;
    var sums: Sums;
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
            if eight < LINES / 8u {
                rescale(&sums, eight);
                var v0 = value(cached, 0u, column);
                var v1 = value(cached, 1u, column);
                for (var n = 0u; n < KEYS; n += 2u) {
                    let a = octet(v0, column);
                    let b = octet(v1, column);
                    if n + 2u < KEYS {
                        v0 = value(cached, n + 2u, column);
                        v1 = value(cached, n + 3u, column);
                    }
                    add(&sums, n, eight, a);
                    add(&sums, n + 1u, eight, b);
                }
            }
            workgroupBarrier();
            base = block_end;
        }
        segment = last + 1u;
    }
    let line = 8u * eight;
    if eight < LINES / 8u {
        write(tile, line, column, sums.lo0, sums.hi0, sums.total_a.x);
        write(tile, line + 1u, column, sums.lo1, sums.hi1, sums.total_a.y);
        write(tile, line + 2u, column, sums.lo2, sums.hi2, sums.total_a.z);
        write(tile, line + 3u, column, sums.lo3, sums.hi3, sums.total_a.w);
        write(tile, line + 4u, column, sums.lo4, sums.hi4, sums.total_b.x);
        write(tile, line + 5u, column, sums.lo5, sums.hi5, sums.total_b.y);
        write(tile, line + 6u, column, sums.lo6, sums.hi6, sums.total_b.z);
        write(tile, line + 7u, column, sums.lo7, sums.hi7, sums.total_b.w);
    }
}
