// out[t, head] = sum_p softmax_p(q[t, head] . k[p]) * v[p] over the visible positions p of the row's slot:
// position - window < p <= position. No scale: q_norm and k_norm carry it. Query head j reads KV head (j + first_head) /
// heads_per_kv: the first of a rank's query heads may stand inside the group of heads that share a KV head.
// One workgroup a share of a row's positions and up to 4 query heads of a KV head: it reads keys and values once for all
// of them, block by block with a running maximum and sum (flash attention, arXiv 2205.14135). A team of THREADS / BLOCK
// neighbouring lanes scores a position, so that it reads a row's neighbouring vec4; then each lane adds up one vec4 of
// the head's dimensions over every (THREADS / dimensions)th position. A vec4 has a number for each of the 4 heads.
// Shares are joined by attention_join.wgsl (flash decoding, pytorch.org/blog/flash-decoding), or there is one (WHOLE).
// Positions before the step come from the cache; the step's own from the cache too (FROM_CACHE) or from its new rows.

override FROM_CACHE: bool = true;
override WHOLE: bool = true;    // no shares: out gets the result
override HEADS: u32 = 2;        // query heads of a workgroup, from 1 to 4
override HEAD_DIM: u32 = 256;   // a multiple of 4, at most 4 * THREADS
override QUERIES: u32 = 128;    // HEADS * HEAD_DIM / 4
override THREADS: u32 = 256;    // a multiple of BLOCK
const LOWEST: f32 = -3.4e38;

struct Params {
    n_heads: u32,
    heads_per_kv: u32,
    first_head: u32, // below heads_per_kv
    window: u32,     // the largest u32: all earlier positions
    capacity: u32,   // positions a slot's ring holds
    q_stride: u32,   // of q and out, a multiple of 4
    kv_stride: u32,  // of a cache row and a new row, a multiple of 4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;         // [rows, q_stride / 4]
@group(0) @binding(2) var<storage, read> k_cache: array<vec4<f32>>;   // [slots * capacity, kv_stride / 4]
@group(0) @binding(3) var<storage, read> v_cache: array<vec4<f32>>;   // [slots * capacity, kv_stride / 4]
@group(0) @binding(4) var<storage, read> k_new: array<vec4<f32>>;     // [rows, kv_stride / 4]
@group(0) @binding(5) var<storage, read> v_new: array<vec4<f32>>;     // [rows, kv_stride / 4]
@group(0) @binding(6) var<storage, read> rows: array<Row>;
// WHOLE: [rows, q_stride / 4]. Else [shares, n_heads, HEAD_DIM / 4 + 1]: the sum, then (maximum, total, 0, 0).
@group(0) @binding(7) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> query: array<vec4<f32>, QUERIES>;
var<workgroup> partial: array<vec4<f32>, THREADS>; // of scores, by position and lane of the team; at the end of sums
var<workgroup> score: array<vec4<f32>, BLOCK>;
var<workgroup> weight: array<vec4<f32>, BLOCK>;
var<workgroup> rescale: vec4<f32>;
var<workgroup> scale: vec4<f32>;

// Where keys and values come from.
struct Source {
    row: Row,
    first: u32, // the first visible position
    ring: u32,  // its place in the ring
    kv: u32,    // vec4 index of the KV head in a row
}

fn is_cached(source: Source, p: u32) -> bool {
    return FROM_CACHE || p < source.row.first_position;
}

// vec4 index of position p's head in the cache, or in the step's rows.
fn place(source: Source, p: u32) -> u32 {
    var ring = source.ring + p - source.first;
    if ring >= params.capacity {
        ring -= params.capacity;
    }
    let cached = source.row.slot * params.capacity + ring;
    let own = source.row.first + p - source.row.first_position;
    return select(own, cached, is_cached(source, p)) * (params.kv_stride / 4u) + source.kv;
}
fn key(cached: bool, at: u32) -> vec4<f32> {
    if cached {
        return k_cache[at];
    }
    return k_new[at];
}
fn value(cached: bool, at: u32) -> vec4<f32> {
    if cached {
        return v_cache[at];
    }
    return v_new[at];
}

// Products of one vec4 of a key with the queries.
fn products(k: vec4<f32>, i: u32) -> vec4<f32> {
    let d4 = HEAD_DIM / 4u;
    var s = vec4(dot(query[i], k), 0.0, 0.0, 0.0);
    if HEADS > 1u {
        s.y = dot(query[d4 + i], k);
    }
    if HEADS > 2u {
        s.z = dot(query[2u * d4 + i], k);
    }
    if HEADS > 3u {
        s.w = dot(query[3u * d4 + i], k);
    }
    return s;
}

// A lane's part of the scores of position p: every team-th vec4 from its own on, eight loads before they are used.
fn scores(source: Source, p: u32, lane: u32) -> vec4<f32> {
    let d4 = HEAD_DIM / 4u;
    let team = THREADS / BLOCK;
    let cached = is_cached(source, p);
    let at = place(source, p);
    var s = vec4(0.0);
    var i = lane % team;
    for (; i + 7u * team < d4; i += 8u * team) {
        let k0 = key(cached, at + i);
        let k1 = key(cached, at + i + team);
        let k2 = key(cached, at + i + 2u * team);
        let k3 = key(cached, at + i + 3u * team);
        let k4 = key(cached, at + i + 4u * team);
        let k5 = key(cached, at + i + 5u * team);
        let k6 = key(cached, at + i + 6u * team);
        let k7 = key(cached, at + i + 7u * team);
        s += products(k0, i) + products(k1, i + team) + products(k2, i + 2u * team) + products(k3, i + 3u * team)
            + products(k4, i + 4u * team) + products(k5, i + 5u * team) + products(k6, i + 6u * team)
            + products(k7, i + 7u * team);
    }
    for (; i < d4; i += team) {
        s += products(key(cached, at + i), i);
    }
    return s;
}

// Weights of the block's position j: nothing beyond its end.
fn weights(j: u32, count: u32) -> vec4<f32> {
    return select(vec4(0.0), weight[min(j, BLOCK - 1u)], j < count);
}
// The vec4 i of the value of the block's position j; beyond the end that of the last.
fn values(source: Source, base: u32, j: u32, count: u32, i: u32) -> vec4<f32> {
    let p = base + min(j, count - 1u);
    return value(is_cached(source, p), place(source, p) + i);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let d4 = HEAD_DIM / 4u;
    let row = rows[group.y];
    let heads = (params.heads_per_kv + HEADS - 1u) / HEADS; // workgroups that share a KV head
    let in_group = group.x % heads * HEADS;
    let n_here = min(HEADS, params.heads_per_kv - in_group);
    // The rank's number of the first query head; heads of the rank before wrap around to a large number.
    let head = group.x / heads * params.heads_per_kv + in_group - params.first_head;
    let first = first_visible(row.position, params.window);
    let source = Source(row, first, first % params.capacity, group.x / heads * d4);
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
    for (var i = lane; i < QUERIES; i += THREADS) {
        let j = head + i / d4;
        let is_ours = i / d4 < n_here && j < params.n_heads;
        query[i] = vec4(0.0);
        if is_ours {
            query[i] = q[group.y * (params.q_stride / 4u) + j * d4 + i % d4];
        }
    }
    var largest = vec4(LOWEST);
    var total = vec4(0.0); // of the weights that this lane makes
    var sum0 = vec4(0.0);
    var sum1 = vec4(0.0);
    var sum2 = vec4(0.0);
    var sum3 = vec4(0.0);
    let stripe = THREADS / d4;
    let column = lane % d4;
    workgroupBarrier();
    for (var base = begin; base < end; base += BLOCK) {
        let count = min(BLOCK, end - base);
        let j = lane / (THREADS / BLOCK);
        if j < count {
            partial[lane] = scores(source, base + j, lane);
        }
        workgroupBarrier();
        var s = vec4(LOWEST);
        if lane < count {
            s = vec4(0.0);
            for (var i = 0u; i < THREADS / BLOCK; i++) {
                s += partial[lane * (THREADS / BLOCK) + i];
            }
        }
        if lane < BLOCK {
            score[lane] = s;
        }
        workgroupBarrier();
        if lane < BLOCK {
            var block_largest = largest;
            for (var i = 0u; i < count; i++) {
                block_largest = max(block_largest, score[i]);
            }
            let w = exp(s - block_largest);
            weight[lane] = w;
            let to_new = exp(largest - block_largest);
            total = total * to_new + w;
            largest = block_largest;
            if lane == 0u {
                rescale = to_new;
            }
        }
        workgroupBarrier();
        if lane < stripe * d4 {
            sum0 *= rescale.x;
            sum1 *= rescale.y;
            sum2 *= rescale.z;
            sum3 *= rescale.w;
            for (var n = lane / d4; n < count; n += 4u * stripe) {
                let v0 = values(source, base, n, count, column);
                let v1 = values(source, base, n + stripe, count, column);
                let v2 = values(source, base, n + 2u * stripe, count, column);
                let v3 = values(source, base, n + 3u * stripe, count, column);
                let w0 = weights(n, count);
                let w1 = weights(n + stripe, count);
                let w2 = weights(n + 2u * stripe, count);
                let w3 = weights(n + 3u * stripe, count);
                sum0 += w0.x * v0 + w1.x * v1 + w2.x * v2 + w3.x * v3;
                if HEADS > 1u {
                    sum1 += w0.y * v0 + w1.y * v1 + w2.y * v2 + w3.y * v3;
                }
                if HEADS > 2u {
                    sum2 += w0.z * v0 + w1.z * v1 + w2.z * v2 + w3.z * v3;
                }
                if HEADS > 3u {
                    sum3 += w0.w * v0 + w1.w * v1 + w2.w * v2 + w3.w * v3;
                }
            }
        }
    }
    // The block's weights stand still; totals go where scores were.
    if lane < BLOCK {
        score[lane] = total;
    }
    workgroupBarrier();
    if lane == 0u {
        total = vec4(0.0);
        for (var i = 0u; i < BLOCK; i++) {
            total += score[i];
        }
        scale = select(vec4(1.0), 1.0 / total, WHOLE);
    }
    let record = (first_share(group.y, groups.y) + group.z) * params.n_heads;
    for (var h = 0u; h < HEADS; h++) {
        workgroupBarrier();
        partial[lane] = select(select(sum0, sum1, h == 1u), select(sum2, sum3, h == 3u), h >= 2u);
        workgroupBarrier();
        let is_ours = h < n_here && head + h < params.n_heads;
        if is_ours && lane < d4 {
            var sum = partial[lane];
            for (var n = 1u; n < stripe; n++) {
                sum += partial[n * d4 + lane];
            }
            var to = (record + head + h) * (d4 + 1u);
            if WHOLE {
                to = group.y * (params.q_stride / 4u) + (head + h) * d4;
            }
            out[to + lane] = sum * scale[h];
        }
        if !WHOLE && is_ours && lane == 0u {
            out[(record + head + h) * (d4 + 1u) + d4] = vec4(largest[h], total[h], 0.0, 0.0);
        }
    }
}
