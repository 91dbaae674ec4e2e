// needs rows: Row
// needs splits: BLOCK, first_share, first_visible, share_of
// needs kv: HEAD_DIM, head_octets, head_quads
// needs kv_pack: room
// needs own_heads: STORES, load_units, make_heads
// needs score_keys: load_keys, scores
// needs read_values: AHEAD, VALUES, Values, load_values
// needs sums: QUADS, Sums, add, n_columns, rescale_sums, sum_of, values_of
// gives override: WHOLE, HEADS, THREADS, UNITS
// gives const: LOWEST
// gives struct: Params, Work, Source
// gives var: params, qkv, norms, rotary, rows, k_cache, v_cache, out, score
// gives fn: place, of_heads, score_of, exp_of_heads, result_at, main

// out[t, head] = sum_p softmax_p(q[t, head] . k[p]) * v[p] over the visible positions p of the row's slot:
// position - window < p <= position; for steps of few rows. No scale: q_norm and k_norm carry it. Norms, rotation and the
// way into the cache are done here too (own_heads.wgsl). Query head j reads KV head (j + first_head) / heads_per_kv: the
// first of a rank's query heads may stand inside the group of heads that share a KV head.
// One workgroup a share of a row's positions and up to 4 query heads of a KV head: it reads keys and values once for all
// of them. A block of positions is scored first (score_keys.wgsl). Then each stripe of lanes, one lane a column of QUADS
// quads of the head, adds up the values of every (number of stripes)th position with a running maximum of its own (flash
// attention, arXiv 2205.14135); stripes are put together at the end. A vec4 of scores, weights or maxima has a number for
// each of the 4 heads.
// HEADS, HELD, QUADS, VALUES, AHEAD and EARLY say how many registers a lane needs: from 60 to 250.
// Shares are joined by attention_join.wgsl (flash decoding, pytorch.org/blog/flash-decoding), or there is one (WHOLE).

override WHOLE: bool = true;    // no shares: out gets the result
override HEADS: u32 = 2;        // query heads of a workgroup, from 1 to 4
override THREADS: u32 = 256;    // a multiple of BLOCK, at least n_columns()
override UNITS: u32 = 128;      // (HEADS + 2) * HEAD_DIM / 8
const LOWEST: f32 = -3.4e38;

struct Params {
    n_heads: u32,
    heads_per_kv: u32,
    first_head: u32,    // below heads_per_kv
    first_v: u32,       // number in qkv of the head that v begins with: behind k, or k itself
    window: u32,        // the largest u32: all earlier positions
    capacity: u32,      // positions a slot's ring holds
    qkv_stride: u32,    // a multiple of 4
    q_stride: u32,      // of out, a multiple of 4
    kv_stride: u32,     // quads of a cache row
    rotated_pairs: u32,
    rotary_stride: u32, // pairs between the rotary rows of two step rows
    rotary_offset: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;           // [rows, qkv_stride / 4]
@group(0) @binding(2) var<storage, read> norms: array<vec4<f32>>;         // [2, HEAD_DIM / 4]: q_norm, k_norm
@group(0) @binding(3) var<storage, read> rotary: array<vec2<f32>>;        // [rows, rotary_stride]: cos, sin
@group(0) @binding(4) var<storage, read> rows: array<Row>;
@group(0) @binding(5) var<storage, read_write> k_cache: array<vec4<u32>>; // [slots * capacity, kv_stride]
@group(0) @binding(6) var<storage, read_write> v_cache: array<vec4<u32>>; // [slots * capacity, kv_stride]
// WHOLE: [rows, q_stride / 4]. Else [shares, n_heads, HEAD_DIM / 4 + 1]: the sum, then (maximum, total, 0, 0).
@group(0) @binding(7) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> score: array<vec4<f32>, BLOCK>;

// What a workgroup works on.
struct Work {
    t: u32,
    row: Row,
    head: u32,    // the first query head; a rank's number, where heads of the rank before wrap around to large ones
    n_heads: u32,
    kv_head: u32,
}

// Where positions are in the cache.
struct Source {
    first: u32, // the first visible position
    ring: u32,  // its place in the ring
    at: u32,    // quad of the slot's first position
}

fn place(source: Source, p: u32) -> u32 {
    var ring = source.ring + p - source.first;
    if ring >= params.capacity {
        ring -= params.capacity;
    }
    return source.at + ring * params.kv_stride;
}

// Numbers of the heads that there are, and zeros.
fn of_heads(v: vec4<f32>) -> vec4<f32> {
    if HEADS == 1u {
        return vec4(v.x, 0.0, 0.0, 0.0);
    }
    if HEADS == 2u {
        return vec4(v.xy, 0.0, 0.0);
    }
    return v;
}

// Scores of the block's position n: nothing beyond its end.
fn score_of(n: u32, count: u32) -> vec4<f32> {
    return of_heads(select(vec4(LOWEST), score[min(n, BLOCK - 1u)], n < count));
}

// Of each head that there is.
fn exp_of_heads(v: vec4<f32>) -> vec4<f32> {
    if HEADS == 1u {
        return vec4(exp(v.x), 0.0, 0.0, 0.0);
    }
    if HEADS == 2u {
        return vec4(exp(v.xy), 0.0, 0.0);
    }
    return exp(v);
}

// The place of the result of head h, in vec4.
fn result_at(work: Work, h: u32, record: u32) -> u32 {
    if WHOLE {
        return work.t * (params.q_stride / 4u) + (work.head + h) * (HEAD_DIM / 4u);
    }
    return (record + work.head + h) * (HEAD_DIM / 4u + 1u);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Whatever can be read before anything is known is read here: all of it is far away.
    let row = rows[group.y];
    let parts = (params.heads_per_kv + HEADS - 1u) / HEADS; // workgroups that share a KV head
    let in_group = group.x % parts * HEADS;
    let kv_head = group.x / parts;
    let head = kv_head * params.heads_per_kv + in_group - params.first_head;
    let work = Work(group.y, row, head, min(HEADS, params.heads_per_kv - in_group), kv_head);
    let units = load_units(work, group.y, lane);
    let first = first_visible(row.position, params.window);
    let slot_at = row.slot * params.capacity * params.kv_stride + kv_head * head_quads();
    let source = Source(first, first % params.capacity, slot_at);
    var begin = first;
    var end = row.position + 1u;
    if !WHOLE {
        let share = share_of(end - first, groups.y);
        begin += group.z * share;
        end = min(end, begin + share);
    }
    if begin >= end {
        return;
    }
    let octets = head_octets();
    let stripes = THREADS / n_columns();
    let stripe = lane / n_columns();
    let column = lane % n_columns();
    let own = lane / (THREADS / BLOCK); // the position of a block that the lane scores
    var keys = load_keys(source, begin + own, end, lane);
    var held: Values;
    if AHEAD {
        held = load_values(source, begin + stripe, end, column);
    }
    make_heads(work, source, units, lane, begin, end);
    if STORES && end > row.first_position {
        // Some of it was not there yet.
        keys = load_keys(source, begin + own, end, lane);
        if AHEAD {
            held = load_values(source, begin + stripe, end, column);
        }
    }

    var largest = of_heads(vec4(LOWEST));
    var total = vec4(0.0);
    var sums: Sums;
    let partial = HEADS * 2u * octets; // Behind the queries, where the step's own keys and values were.
    for (var base = begin; base < end; base += BLOCK) {
        let count = min(BLOCK, end - base);
        let next = base + BLOCK;
        if own < count {
            room[partial + lane] = scores(keys, place(source, base + own), lane);
        }
        if next < end {
            keys = load_keys(source, next + own, end, lane);
        }
        workgroupBarrier();
        if lane < count {
            var s = vec4(0.0);
            for (var i = 0u; i < THREADS / BLOCK; i++) {
                s += room[partial + lane * (THREADS / BLOCK) + i];
            }
            score[lane] = s;
        }
        workgroupBarrier();
        if stripe < stripes {
            for (var n = stripe; n < count; n += VALUES * stripes) {
                if !AHEAD {
                    held = load_values(source, base + n, end, column);
                }
                let s0 = score_of(n, count);
                var s1 = s0;
                var s2 = s0;
                var s3 = s0;
                if VALUES > 1u {
                    s1 = score_of(n + stripes, count);
                }
                if VALUES > 2u {
                    s2 = score_of(n + 2u * stripes, count);
                    s3 = score_of(n + 3u * stripes, count);
                }
                let new_largest = max(max(largest, max(s0, s1)), max(s2, s3));
                let rescale = exp_of_heads(largest - new_largest);
                let w0 = exp_of_heads(s0 - new_largest);
                var w1 = vec4(0.0);
                var w2 = vec4(0.0);
                var w3 = vec4(0.0);
                if VALUES > 1u {
                    w1 = exp_of_heads(s1 - new_largest);
                }
                if VALUES > 2u {
                    w2 = exp_of_heads(s2 - new_largest);
                    w3 = exp_of_heads(s3 - new_largest);
                }
                total = total * rescale + ((w0 + w1) + (w2 + w3));
                largest = new_largest;
                rescale_sums(&sums, rescale);
                add(&sums, w0, values_of(held.v0, column));
                if VALUES > 1u {
                    add(&sums, w1, values_of(held.v1, column));
                }
                if VALUES > 2u {
                    add(&sums, w2, values_of(held.v2, column));
                    add(&sums, w3, values_of(held.v3, column));
                }
                if AHEAD && n + VALUES * stripes < count {
                    held = load_values(source, base + n + VALUES * stripes, end, column);
                }
            }
        }
        if AHEAD && next < end {
            held = load_values(source, next + stripe, end, column);
        }
    }
    workgroupBarrier();
    // Behind the sums stand the stripes' maxima and totals; nobody needs the queries any more. Where there is room for
    // two heads' sums they take turns, and a barrier a head is enough.
    let areas = select(1u, 2u, THREADS <= 128u);
    let maxima = QUADS * areas * THREADS;
    if column == 0u && stripe < stripes {
        room[maxima + stripe] = largest;
        room[maxima + stripes + stripe] = total;
    }
    let record = (first_share(group.y, groups.y) + group.z) * params.n_heads;
    for (var h = 0u; h < HEADS; h++) {
        let area = h % areas * QUADS * THREADS;
        let sum = sum_of(sums, h);
        room[area + lane] = sum.lo;
        if QUADS == 2u {
            room[area + THREADS + lane] = sum.hi;
        }
        workgroupBarrier();
        var all_largest = LOWEST;
        for (var s = 0u; s < stripes; s++) {
            all_largest = max(all_largest, room[maxima + s][h]);
        }
        let is_ours = h < work.n_heads && head + h < params.n_heads;
        let to = result_at(work, h, record);
        for (var i = lane; i < HEAD_DIM / 4u && is_ours; i += THREADS) {
            var quad = vec4(0.0);
            var all_total = 0.0;
            for (var s = 0u; s < stripes; s++) {
                let factor = exp(room[maxima + s][h] - all_largest);
                quad += factor * room[area + i % QUADS * THREADS + s * n_columns() + i / QUADS];
                all_total += factor * room[maxima + stripes + s][h];
            }
            if WHOLE {
                out[to + i] = quad / all_total;
            } else {
                out[to + i] = quad;
                if i == 0u {
                    out[to + HEAD_DIM / 4u] = vec4(all_largest, all_total, 0.0, 0.0);
                }
            }
        }
        if areas == 1u {
            workgroupBarrier();
        }
    }
}
