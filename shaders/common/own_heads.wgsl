// A workgroup's heads before attention: its queries, normed and rotated, come to stand at the beginning of `room`; the
// keys and values of those positions of the step that its share holds enter the cache.
// Room: for each query head its even vec4, then its odd ones; then k and v in order, until they are packed.
// Several workgroups may write a position's key and value: those of all rows of the step that see it, and those that
// share a KV head. Each writes before it reads, and all write the same bits.

override STORES: bool = true; // the layer makes keys and values; else it reads another layer's

var<workgroup> squares: array<f32, UNITS>;
var<workgroup> columns: array<f32, UNITS>;

// Number in qkv of the head that stands as number h in room, and whether there is one.
fn head_in_qkv(work: Work, h: u32) -> vec2<u32> {
    if h < HEADS {
        let is_ours = h < work.n_heads && work.head + h < params.n_heads;
        return vec2(work.head + h, u32(is_ours));
    }
    return vec2(select(params.first_v, params.n_heads, h == HEADS) + work.kv_head, u32(STORES));
}

// Where vec4 i of head h stands in room.
fn room_at(h: u32, i: u32) -> u32 {
    let start = h * 2u * head_octets();
    return start + select(i, i % 2u * head_octets() + i / 2u, h < HEADS);
}

// Queries of the work's row, and key and value of row t, normed and rotated. A unit is two vec4 of a head whose
// dimensions turn together.
fn make_room(work: Work, t: u32, lane: u32) {
    let half = HEAD_DIM / 8u;
    let padding = 2u * head_octets() - 2u * half;
    for (var i = lane; i < (HEADS + 2u) * padding; i += THREADS) {
        room[room_at(i / padding, 2u * half + i % padding)] = vec4(0.0);
    }
    for (var u = lane; u < UNITS; u += THREADS) {
        let h = u / half;
        let source = head_in_qkv(work, h);
        let row = select(t, work.t, h < HEADS);
        var a = vec4(0.0);
        var b = vec4(0.0);
        if source.y == 1u {
            let at = row * (params.qkv_stride / 4u) + source.x * 2u * half + u % half;
            a = qkv[at];
            b = qkv[at + half];
        }
        room[room_at(h, u % half)] = a;
        room[room_at(h, u % half + half)] = b;
        squares[u] = dot(a, a) + dot(b, b);
    }
    workgroupBarrier();
    // Sums of a head's squares: up to 8 columns, then of these.
    for (var u = lane; u < UNITS; u += THREADS) {
        if u % half < 8u {
            var sum = 0.0;
            for (var i = u % half; i < half; i += 8u) {
                sum += squares[u / half * half + i];
            }
            columns[u] = sum;
        }
    }
    workgroupBarrier();
    for (var u = lane; u < UNITS; u += THREADS) {
        let h = u / half;
        let i = u % half;
        var sum = 0.0;
        for (var c = 0u; c < min(half, 8u); c++) {
            sum += columns[h * half + c];
        }
        let factor = 1.0 / sqrt(sum / f32(HEAD_DIM) + params.eps);
        let row = select(t, work.t, h < HEADS);
        let is_v = h == HEADS + 1u;
        let norm_at = select(0u, 2u * half, h == HEADS) + i;
        let norm_a = select(norms[norm_at], vec4(1.0), is_v);
        let norm_b = select(norms[norm_at + half], vec4(1.0), is_v);
        let a = room[room_at(h, i)] * factor * norm_a;
        let b = room[room_at(h, i + half)] * factor * norm_b;
        let turns = row * params.rotary_stride + params.rotary_offset;
        let pair = rotated(a, b, 4u * i, turns, select(params.rotated_pairs, 0u, is_v));
        room[room_at(h, i)] = pair.lo;
        room[room_at(h, i + half)] = pair.hi;
    }
    workgroupBarrier();
}

// Makes the queries, and the keys and values of the share from position `begin` to `end`.
fn make_heads(work: Work, source: Source, lane: u32, begin: u32, end: u32) {
    let row = work.row;
    var p = max(begin, row.first_position);
    if !STORES || p >= end {
        make_room(work, work.t, lane);
        return;
    }
    let k_at = HEADS * 2u * head_octets();
    let n = head_quads();
    for (; p < end; p++) {
        make_room(work, row.first + p - row.first_position, lane);
        let to = place(source, p);
        for (var i = lane; i < 2u * n; i += THREADS) {
            if i < n {
                k_cache[to + i] = packed_quad(k_at, i);
            } else {
                v_cache[to + i - n] = packed_quad(k_at + 2u * head_octets(), i - n);
            }
        }
        storageBarrier();
        workgroupBarrier();
    }
}
