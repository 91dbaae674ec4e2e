// A workgroup's heads before attention: its queries, normed and rotated, come to stand at the beginning of `room`; the
// keys and values of those positions of the step that its share holds enter the cache.
// Room: for each query head its even vec4, then its odd ones; then k and v in order, until they are packed.
// Several workgroups may write a position's key and value: those of all rows of the step that see it, and those that
// share a KV head. Each writes before it reads, and all write the same bits.

override STORES: bool = true; // the layer makes keys and values; else it reads another layer's

var<workgroup> squares: array<f32, UNITS>;
var<workgroup> columns: array<f32, UNITS>;

override ROUNDS: u32 = 1; // units of a lane: at most 3, because THREADS is 128 at least and UNITS 384 at most

// Two vec4 of a head whose dimensions turn together, and what they are multiplied with and turned by.
struct Unit {
    a: vec4<f32>,
    b: vec4<f32>,
    norm_a: vec4<f32>,
    norm_b: vec4<f32>,
    turn: Turn,
}

struct Units {
    unit: array<Unit, 3>,
}

// Where vec4 i of head h stands in room.
fn room_at(h: u32, i: u32) -> u32 {
    let start = h * 2u * head_octets();
    return start + select(i, i % 2u * head_octets() + i / 2u, h < HEADS);
}

// A lane's units of the queries of the work's row, and of key and value of row t.
fn load_units(work: Work, t: u32, lane: u32) -> Units {
    let half = HEAD_DIM / 8u;
    var units: Units;
    for (var r = 0u; r < ROUNDS; r++) {
        let u = lane + r * THREADS;
        if u < UNITS {
            let h = u / half;
            let i = u % half;
            let is_q = h < HEADS;
            let is_v = h == HEADS + 1u;
            let head = select(select(params.first_v, params.n_heads, h == HEADS) + work.kv_head, work.head + h, is_q);
            let row = select(t, work.t, is_q);
            let is_there = select(STORES, h < work.n_heads && work.head + h < params.n_heads, is_q);
            let at = row * (params.qkv_stride / 4u) + head * 2u * half + i;
            let norm_at = select(0u, 2u * half, h == HEADS) + i;
            let turns = row * params.rotary_stride + params.rotary_offset;
            if is_there {
                units.unit[r].a = qkv[at];
                units.unit[r].b = qkv[at + half];
            }
            units.unit[r].norm_a = select(norms[norm_at], vec4(1.0), is_v);
            units.unit[r].norm_b = select(norms[norm_at + half], vec4(1.0), is_v);
            units.unit[r].turn = turn_at(4u * i, turns, select(params.rotated_pairs, 0u, is_v));
        }
    }
    return units;
}

// Units normed and rotated, in room.
fn make_room(units: Units, lane: u32) {
    let half = HEAD_DIM / 8u;
    let padding = 2u * head_octets() - 2u * half;
    for (var i = lane; i < (HEADS + 2u) * padding; i += THREADS) {
        room[room_at(i / padding, 2u * half + i % padding)] = vec4(0.0);
    }
    for (var r = 0u; r < ROUNDS; r++) {
        let u = lane + r * THREADS;
        if u < UNITS {
            squares[u] = dot(units.unit[r].a, units.unit[r].a) + dot(units.unit[r].b, units.unit[r].b);
        }
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
    for (var r = 0u; r < ROUNDS; r++) {
        let u = lane + r * THREADS;
        if u < UNITS {
            let h = u / half;
            let i = u % half;
            var sum = 0.0;
            for (var c = 0u; c < min(half, 8u); c++) {
                sum += columns[h * half + c];
            }
            let factor = 1.0 / sqrt(sum / f32(HEAD_DIM) + params.eps);
            let a = units.unit[r].a * factor * units.unit[r].norm_a;
            let b = units.unit[r].b * factor * units.unit[r].norm_b;
            let pair = rotated(a, b, units.unit[r].turn);
            room[room_at(h, i)] = pair.lo;
            room[room_at(h, i + half)] = pair.hi;
        }
    }
    workgroupBarrier();
}

// Key and value, which stand in room, enter the cache at quad `to`.
fn store(to: u32, lane: u32) {
    let k_at = HEADS * 2u * head_octets();
    let n = head_quads();
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

// Makes the queries, and the keys and values of the share from position `begin` to `end`; `units` are those of the work's
// row, whose own position is the last that it sees.
fn make_heads(work: Work, source: Source, units: Units, lane: u32, begin: u32, end: u32) {
    let row = work.row;
    if STORES {
        for (var p = max(begin, row.first_position); p < min(end, row.position); p++) {
            make_room(load_units(work, row.first + p - row.first_position, lane), lane);
            store(place(source, p), lane);
        }
    }
    make_room(units, lane);
    if STORES && end > row.position {
        store(place(source, row.position), lane);
    }
}
