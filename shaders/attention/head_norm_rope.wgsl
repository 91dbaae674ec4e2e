// needs reduce: THREADS, workgroup_sum
// needs rows: Row
// needs kv: HEAD_DIM, head_octets, head_quads
// needs kv_pack: half_octet, packed_quad, room
// needs rotate: rotated, turn_at
// gives override: TO_CACHE, SQUARES, Q_SIDE
// gives struct: Params
// gives var: params, qkv, norms, rotary, rows, q, k_out, v_out
// gives fn: main

// Per head: q = rope(rms(q) * q_norm), k = rope(rms(k) * k_norm), v = rms(v). The heads stand side by side in qkv: q, k,
// and v unless the layer has K = V. k and v go to the KV cache, or to the step's own rows where a chunk must not yet
// overwrite the ring; both hold them alike. One workgroup a row and head: q heads, then k heads, then v heads.
// rope turns the pair (i, i + head_dim / 2) for i < rotated_pairs by the row's angle i; the other dimensions stay.

override TO_CACHE: bool = true;
override SQUARES: bool = false; // queries in f16, in squares of Q_SIDE lines and dimensions
override Q_SIDE: u32 = 16;      // or 8

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    rotated_pairs: u32,
    qkv_stride: u32,     // a multiple of 4
    first_v: u32,        // number in qkv of the head that v begins with: behind k, or k itself
    q_stride: u32,       // a multiple of 4
    kv_stride: u32,      // quads of one cache row, or one row of k_out and v_out
    capacity: u32,       // positions a slot's ring holds
    rotary_stride: u32,  // pairs between the rotary rows of two step rows
    rotary_offset: u32,
    eps: f32,
    heads_per_kv: u32,
    first_head: u32,     // below heads_per_kv
    q_lines: u32,        // with SQUARES: rows that q has room for times heads_per_kv
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>;          // [rows, qkv_stride / 4]
@group(0) @binding(2) var<storage, read> norms: array<vec4<f32>>;        // [2, HEAD_DIM / 4]: q_norm, k_norm
@group(0) @binding(3) var<storage, read> rotary: array<vec2<f32>>;       // [rows, rotary_stride]: cos, sin
@group(0) @binding(4) var<storage, read> rows: array<Row>;
// [rows, q_stride / 4] of f32; with SQUARES [KV heads, q_lines / Q_SIDE, HEAD_DIM / Q_SIDE, Q_SIDE, Q_SIDE / 8] of f16,
// where a row's heads of a KV head are lines that follow each other.
@group(0) @binding(5) var<storage, read_write> q: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> k_out: array<vec4<u32>>;  // [slots * capacity or rows, kv_stride]
@group(0) @binding(7) var<storage, read_write> v_out: array<vec4<u32>>;  // the same

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = group.y;
    let d4 = HEAD_DIM / 4u;
    let is_q = group.x < params.n_heads;
    let is_k = !is_q && group.x < params.n_heads + params.n_kv_heads;
    let kv_head = (group.x - params.n_heads) % params.n_kv_heads;
    let source = select(params.first_v + kv_head, group.x, is_q || is_k);
    let head_at = t * (params.qkv_stride / 4u) + source * d4;
    var squares = 0.0;
    for (var i = lane; i < 2u * head_octets(); i += THREADS) {
        var quad = vec4(0.0);
        if i < d4 {
            quad = qkv[head_at + i];
        }
        room[i] = quad;
        squares += dot(quad, quad);
    }
    let factor = 1.0 / sqrt(workgroup_sum(lane, squares) / f32(HEAD_DIM) + params.eps);
    let norm_at = select(0u, d4, is_k);
    let turns = t * params.rotary_stride + params.rotary_offset;
    for (var i = lane; i < d4 / 2u; i += THREADS) {
        let norm_a = select(vec4(1.0), norms[norm_at + i], is_q || is_k);
        let norm_b = select(vec4(1.0), norms[norm_at + d4 / 2u + i], is_q || is_k);
        let a = room[i] * factor * norm_a;
        let b = room[d4 / 2u + i] * factor * norm_b;
        let n_turned = select(0u, params.rotated_pairs, is_q || is_k);
        let pair = rotated(a, b, turn_at(4u * i, turns, n_turned));
        room[i] = pair.lo;
        room[d4 / 2u + i] = pair.hi;
    }
    workgroupBarrier();
    if is_q {
        if SQUARES {
            let head = group.x + params.first_head;
            let line = t * params.heads_per_kv + head % params.heads_per_kv;
            let first = head / params.heads_per_kv * params.q_lines + line / Q_SIDE * Q_SIDE;
            let across = Q_SIDE / 8u; // octets of a square's line
            for (var i = lane; i < d4 / 2u; i += THREADS) {
                let in_square = line % Q_SIDE * across + i % across;
                q[first * (d4 / 2u) + i / across * (Q_SIDE * across) + in_square] = half_octet(room[2u * i], room[2u * i + 1u]);
            }
        } else {
            for (var i = lane; i < d4; i += THREADS) {
                q[t * (params.q_stride / 4u) + group.x * d4 + i] = bitcast<vec4<u32>>(room[i]);
            }
        }
        return;
    }
    var row = t;
    if TO_CACHE {
        row = rows[t].slot * params.capacity + rows[t].position % params.capacity;
    }
    let to = row * params.kv_stride + kv_head * head_quads();
    for (var i = lane; i < head_quads(); i += THREADS) {
        if is_k {
            k_out[to + i] = packed_quad(0u, i);
        } else {
            v_out[to + i] = packed_quad(0u, i);
        }
    }
}
