// Per head: q = rope(rms(q) * q_norm), k = rope(rms(k) * k_norm), v = rms(v). The heads stand side by side in qkv: q, k,
// and v unless the layer has K = V. k and v go to the KV cache, or to the step's own rows where a chunk must not yet
// overwrite the ring. One workgroup a row and head: q heads, then k heads, then v heads.
// rope turns the pair (i, i + head_dim / 2) for i < rotated_pairs by the row's angle i; the other dimensions stay.

override TO_CACHE: bool = true;

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,       // even, at most 512
    rotated_pairs: u32,
    qkv_stride: u32,
    first_v: u32,        // number in qkv of the head that v begins with: behind k, or k itself
    q_stride: u32,
    kv_stride: u32,      // of one cache row, or one row of k_out and v_out
    capacity: u32,       // positions a slot's ring holds
    rotary_stride: u32,  // pairs between the rotary rows of two step rows
    rotary_offset: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;            // [rows, qkv_stride]
@group(0) @binding(2) var<storage, read> norms: array<f32>;          // [2, head_dim]: q_norm, k_norm
@group(0) @binding(3) var<storage, read> rotary: array<vec2<f32>>;   // [rows, rotary_stride]: cos, sin
@group(0) @binding(4) var<storage, read> rows: array<Row>;
@group(0) @binding(5) var<storage, read_write> q: array<f32>;        // [rows, q_stride]
@group(0) @binding(6) var<storage, read_write> k_out: array<f32>;    // [slots * capacity or rows, kv_stride]
@group(0) @binding(7) var<storage, read_write> v_out: array<f32>;    // the same

var<workgroup> head: array<f32, 512>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = group.y;
    let d = params.head_dim;
    let is_q = group.x < params.n_heads;
    let is_k = !is_q && group.x < params.n_heads + params.n_kv_heads;
    let kv_head = (group.x - params.n_heads) % params.n_kv_heads;
    let head_at = t * params.qkv_stride + select(params.first_v + kv_head, group.x, is_q || is_k) * d;
    var squares = 0.0;
    for (var i = lane; i < d; i += THREADS) {
        let value = qkv[head_at + i];
        head[i] = value;
        squares += value * value;
    }
    let factor = 1.0 / sqrt(workgroup_sum(lane, squares) / f32(d) + params.eps);
    for (var i = lane; i < d; i += THREADS) {
        var weight = 1.0;
        if is_q {
            weight = norms[i];
        } else if is_k {
            weight = norms[d + i];
        }
        head[i] *= factor * weight;
    }
    workgroupBarrier();
    if is_q || is_k {
        for (var i = lane; i < params.rotated_pairs; i += THREADS) {
            let turn = rotary[t * params.rotary_stride + params.rotary_offset + i];
            let a = head[i];
            let b = head[i + d / 2u];
            head[i] = a * turn.x - b * turn.y;
            head[i + d / 2u] = b * turn.x + a * turn.y;
        }
    }
    workgroupBarrier();
    var row = t;
    if TO_CACHE {
        row = rows[t].slot * params.capacity + rows[t].position % params.capacity;
    }
    for (var i = lane; i < d; i += THREADS) {
        if is_q {
            q[t * params.q_stride + group.x * d + i] = head[i];
        } else if is_k {
            k_out[row * params.kv_stride + kv_head * d + i] = head[i];
        } else {
            v_out[row * params.kv_stride + kv_head * d + i] = head[i];
        }
    }
}
