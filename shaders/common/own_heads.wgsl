// part: own_heads
// needs kv: HEAD_DIM, head_octets, head_quads
// needs kv_pack: packed_quad, room
// needs rotate: Turn, rotated, turn_at
// needs around: HEADS, Source, THREADS, UNITS, Work, k_cache, norms, params, place, qkv, v_cache
// gives override: STORES, ROUNDS, EARLY
// gives struct: Unit, Factors, Units
// gives var: squares, columns
// gives fn: room_at, load_unit, load_factors, load_units, square, put_unit, unit_in_room, turn_unit, make_room, store
// gives fn: make_heads

// A workgroup's heads before attention: its queries, normed and rotated, come to stand at the beginning of `room`; the
// keys and values of those positions of the step that its share holds enter the cache.
// Room: for each query head its even vec4, then its odd ones; then k and v in order, until they are packed.
// Several workgroups may write a position's key and value: those of all rows of the step that see it, and those that
// share a KV head. Each writes before it reads, and all write the same bits.

override STORES: bool = true; // the layer makes keys and values; else it reads another layer's

var<workgroup> squares: array<f32, UNITS>;
var<workgroup> columns: array<f32, UNITS>;

override ROUNDS: u32 = 1; // units of a lane: at most 3, because THREADS is 128 at least and UNITS 384 at most
// Whether a lane reads its units of the row before anything else is known, and holds them in registers until it can norm
// them. Else they go through room, and norms and angles are read where they are used.
override EARLY: bool = true;

// Two vec4 of a head whose dimensions turn together.
struct Unit {
    a: vec4<f32>,
    b: vec4<f32>,
}

// What they are multiplied with and turned by.
struct Factors {
    a: vec4<f32>,
    b: vec4<f32>,
    turn: Turn,
}

struct Units {
    u0: Unit,
    f0: Factors,
    u1: Unit,
    f1: Factors,
    u2: Unit,
    f2: Factors,
}

// Where vec4 i of head h stands in room.
fn room_at(h: u32, i: u32) -> u32 {
    let start = h * 2u * head_octets();
    return start + select(i, i % 2u * head_octets() + i / 2u, h < HEADS);
}

// Unit u of the queries of the work's row, or of key and value of row t.
fn load_unit(work: Work, t: u32, u: u32) -> Unit {
    let half = HEAD_DIM / 8u;
    let h = u / half;
    let is_q = h < HEADS;
    let head = select(select(params.first_v, params.n_heads, h == HEADS) + work.kv_head, work.head + h, is_q);
    let row = select(t, work.t, is_q);
    let is_there = select(STORES, h < work.n_heads && work.head + h < params.n_heads, is_q);
    let at = row * (params.qkv_stride / 4u) + head * 2u * half + u % half;
    var unit: Unit;
    if u < UNITS && is_there {
        unit.a = qkv[at];
        unit.b = qkv[at + half];
    }
    return unit;
}

fn load_factors(work: Work, t: u32, u: u32) -> Factors {
    let half = HEAD_DIM / 8u;
    let h = u / half;
    let i = u % half;
    let row = select(t, work.t, h < HEADS);
    let is_v = h == HEADS + 1u;
    let norm_at = select(0u, 2u * half, h == HEADS) + i;
    let turns = row * params.rotary_stride + params.rotary_offset;
    var factors: Factors;
    if u < UNITS {
        factors.a = select(norms[norm_at], vec4(1.0), is_v);
        factors.b = select(norms[norm_at + half], vec4(1.0), is_v);
        factors.turn = turn_at(4u * i, turns, select(params.rotated_pairs, 0u, is_v));
    }
    return factors;
}

// All of a lane's, if they are read early.
fn load_units(work: Work, t: u32, lane: u32) -> Units {
    var units: Units;
    if EARLY {
        units.u0 = load_unit(work, t, lane);
        units.f0 = load_factors(work, t, lane);
    }
    if EARLY && ROUNDS > 1u {
        units.u1 = load_unit(work, t, lane + THREADS);
        units.f1 = load_factors(work, t, lane + THREADS);
    }
    if EARLY && ROUNDS > 2u {
        units.u2 = load_unit(work, t, lane + 2u * THREADS);
        units.f2 = load_factors(work, t, lane + 2u * THREADS);
    }
    return units;
}

fn square(unit: Unit, u: u32) {
    if u < UNITS {
        squares[u] = dot(unit.a, unit.a) + dot(unit.b, unit.b);
    }
}

// Unit u comes to stand in room as it is.
fn put_unit(unit: Unit, u: u32) {
    let half = HEAD_DIM / 8u;
    room[room_at(u / half, u % half)] = unit.a;
    room[room_at(u / half, u % half + half)] = unit.b;
}

fn unit_in_room(u: u32) -> Unit {
    let half = HEAD_DIM / 8u;
    return Unit(room[room_at(u / half, u % half)], room[room_at(u / half, u % half + half)]);
}

// Unit u normed and rotated, in room.
fn turn_unit(unit: Unit, factors: Factors, u: u32) {
    let half = HEAD_DIM / 8u;
    if u < UNITS {
        var sum = 0.0;
        for (var c = 0u; c < min(half, 8u); c++) {
            sum += columns[u / half * half + c];
        }
        let factor = 1.0 / sqrt(sum / f32(HEAD_DIM) + params.eps);
        let pair = rotated(unit.a * factor * factors.a, unit.b * factor * factors.b, factors.turn);
        put_unit(Unit(pair.lo, pair.hi), u);
    }
}

// The units of the work's row and of row t, normed and rotated, in room; `units` are these where they are read early.
fn make_room(work: Work, t: u32, units: Units, lane: u32) {
    let half = HEAD_DIM / 8u;
    let padding = 2u * head_octets() - 2u * half;
    for (var i = lane; i < (HEADS + 2u) * padding; i += THREADS) {
        room[room_at(i / padding, 2u * half + i % padding)] = vec4(0.0);
    }
    if EARLY {
        square(units.u0, lane);
        if ROUNDS > 1u {
            square(units.u1, lane + THREADS);
        }
        if ROUNDS > 2u {
            square(units.u2, lane + 2u * THREADS);
        }
    } else {
        for (var u = lane; u < UNITS; u += THREADS) {
            let unit = load_unit(work, t, u);
            put_unit(unit, u);
            square(unit, u);
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
    if EARLY {
        turn_unit(units.u0, units.f0, lane);
        if ROUNDS > 1u {
            turn_unit(units.u1, units.f1, lane + THREADS);
        }
        if ROUNDS > 2u {
            turn_unit(units.u2, units.f2, lane + 2u * THREADS);
        }
    } else {
        for (var u = lane; u < UNITS; u += THREADS) {
            turn_unit(unit_in_room(u), load_factors(work, t, u), u);
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
            let t = row.first + p - row.first_position;
            make_room(work, t, load_units(work, t, lane), lane);
            store(place(source, p), lane);
        }
    }
    make_room(work, work.t, units, lane);
    if STORES && end > row.position {
        store(place(source, row.position), lane);
    }
}
