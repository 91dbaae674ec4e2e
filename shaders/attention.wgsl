// out[t, head] = sum_p softmax_p(q[t, head] . k[p]) * v[p] over the visible positions p of the row's slot:
// position - window < p <= position. No scale: q_norm and k_norm carry it. Query head j reads KV head (j + first_head) /
// heads_per_kv: the first of a rank's query heads may stand inside the group of heads that share a KV head.
// One workgroup a row and query head walks blocks of LANES positions with a running maximum and sum (flash attention,
// arXiv 2205.14135): a lane scores one position, then adds up its share of the head's dimensions.
// Positions before the step come from the cache; the step's own from the cache too (FROM_CACHE) or from its new rows.

override FROM_CACHE: bool = true;
override LANES: u32 = 64; // from 32 to 128: a lane keeps up to 4 x 4 of a head's 512 dimensions
const LOWEST: f32 = -3.4e38;

struct Params {
    heads_per_kv: u32,
    first_head: u32, // below heads_per_kv
    head_dim: u32,  // a multiple of 4, at most 512
    window: u32,    // 0: all earlier positions
    capacity: u32,  // positions a slot's ring holds
    q_stride: u32,  // of q and out, a multiple of 4
    kv_stride: u32, // of a cache row and a new row, a multiple of 4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;         // [rows, q_stride / 4]
@group(0) @binding(2) var<storage, read> k_cache: array<vec4<f32>>;   // [slots * capacity, kv_stride / 4]
@group(0) @binding(3) var<storage, read> v_cache: array<vec4<f32>>;   // [slots * capacity, kv_stride / 4]
@group(0) @binding(4) var<storage, read> k_new: array<vec4<f32>>;     // [rows, kv_stride / 4]
@group(0) @binding(5) var<storage, read> v_new: array<vec4<f32>>;     // [rows, kv_stride / 4]
@group(0) @binding(6) var<storage, read> rows: array<Row>;
@group(0) @binding(7) var<storage, read_write> out: array<vec4<f32>>; // [rows, q_stride / 4]

var<workgroup> query: array<vec4<f32>, 128>;
var<workgroup> score: array<f32, LANES>;
var<workgroup> share: array<f32, LANES>;

// vec4 index of position p's row in the cache, or in the step's rows.
fn cache_at(row: Row, p: u32) -> u32 {
    return (row.slot * params.capacity + p % params.capacity) * (params.kv_stride / 4u);
}
fn new_at(row: Row, p: u32) -> u32 {
    return (row.first + p - row.first_position) * (params.kv_stride / 4u);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = rows[group.y];
    let d4 = params.head_dim / 4u;
    let kv = (group.x + params.first_head) / params.heads_per_kv * d4;
    let out_at = group.y * (params.q_stride / 4u) + group.x * d4;
    for (var i = lane; i < d4; i += LANES) {
        query[i] = q[out_at + i];
    }
    var first = 0u;
    if params.window > 0u && row.position + 1u > params.window {
        first = row.position + 1u - params.window;
    }
    var largest = LOWEST;
    var total = 0.0;
    var sum: array<vec4<f32>, 4>;
    workgroupBarrier();
    for (var base = first; base <= row.position; base += LANES) {
        let p = base + lane;
        var s = LOWEST;
        if p <= row.position {
            s = 0.0;
            if FROM_CACHE || p < row.first_position {
                let at = cache_at(row, p) + kv;
                for (var i = 0u; i < d4; i++) {
                    s += dot(query[i], k_cache[at + i]);
                }
            } else {
                let at = new_at(row, p) + kv;
                for (var i = 0u; i < d4; i++) {
                    s += dot(query[i], k_new[at + i]);
                }
            }
        }
        score[lane] = s;
        workgroupBarrier();
        let count = min(LANES, row.position + 1u - base);
        var block_largest = largest;
        for (var j = 0u; j < count; j++) {
            block_largest = max(block_largest, score[j]);
        }
        share[lane] = exp(s - block_largest);
        workgroupBarrier();
        let rescale = exp(largest - block_largest);
        largest = block_largest;
        total *= rescale;
        for (var i = 0u; i < 4u; i++) {
            sum[i] *= rescale;
        }
        for (var j = 0u; j < count; j++) {
            total += share[j];
            for (var i = lane; i < d4; i += LANES) {
                if FROM_CACHE || base + j < row.first_position {
                    sum[i / LANES] += share[j] * v_cache[cache_at(row, base + j) + kv + i];
                } else {
                    sum[i / LANES] += share[j] * v_new[new_at(row, base + j) + kv + i];
                }
            }
        }
    }
    for (var i = lane; i < d4; i += LANES) {
        out[out_at + i] = sum[i / LANES] / total;
    }
}
