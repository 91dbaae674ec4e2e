// part: score_keys
// needs splits: BLOCK
// needs kv: Octet, Packed, head_octets, octet, quad_a, quad_b
// needs kv_pack: room
// needs around: HEADS, Source, THREADS, k_cache, place
// gives override: HELD
// gives struct: Keys
// gives fn: key, is_held, held_key, load_keys, products, held_products, scores

// Scores of keys with a workgroup's queries, which stand in room: a team of THREADS / BLOCK neighbouring lanes scores a
// position, octet by octet of the head, so that it reads neighbouring quads.

fn key(at: u32, o: u32) -> Packed {
    return Packed(k_cache[at + quad_a(o)], k_cache[at + quad_b(o)]);
}

// What a lane reads ahead of the position that it scores: HELD octets, every team-th from its own on. More are read as they
// are used.
override HELD: u32 = 4; // at most 4

struct Keys {
    k0: Packed,
    k1: Packed,
    k2: Packed,
    k3: Packed,
}

// Whether the lanes of a team read an i-th octet ahead.
fn is_held(i: u32) -> bool {
    return i < HELD && i * (THREADS / BLOCK) < head_octets();
}

fn held_key(at: u32, i: u32, lane: u32) -> Packed {
    let team = THREADS / BLOCK;
    return key(at, min(lane % team + i * team, head_octets() - 1u));
}

fn load_keys(source: Source, p: u32, end: u32, lane: u32) -> Keys {
    var keys: Keys;
    if HELD > 0u {
        let at = place(source, min(p, end - 1u));
        keys.k0 = held_key(at, 0u, lane);
        if is_held(1u) {
            keys.k1 = held_key(at, 1u, lane);
        }
        if is_held(2u) {
            keys.k2 = held_key(at, 2u, lane);
        }
        if is_held(3u) {
            keys.k3 = held_key(at, 3u, lane);
        }
    }
    return keys;
}

// Products of an octet of a key with the queries.
fn products(k: Octet, o: u32) -> vec4<f32> {
    let half = head_octets();
    var s = vec4(dot(room[o], k.lo) + dot(room[half + o], k.hi), 0.0, 0.0, 0.0);
    if HEADS > 1u {
        s.y = dot(room[2u * half + o], k.lo) + dot(room[3u * half + o], k.hi);
    }
    if HEADS > 2u {
        s.z = dot(room[4u * half + o], k.lo) + dot(room[5u * half + o], k.hi);
    }
    if HEADS > 3u {
        s.w = dot(room[6u * half + o], k.lo) + dot(room[7u * half + o], k.hi);
    }
    return s;
}

// The same of a key's octet that was read ahead, the i-th of the lane.
fn held_products(k: Packed, i: u32, lane: u32) -> vec4<f32> {
    let o = lane % (THREADS / BLOCK) + i * (THREADS / BLOCK);
    if o < head_octets() {
        return products(octet(k, o), o);
    }
    return vec4(0.0);
}

// A lane's part of the scores of the position at `at`.
fn scores(keys: Keys, at: u32, lane: u32) -> vec4<f32> {
    let team = THREADS / BLOCK;
    var s = vec4(0.0);
    if HELD > 0u {
        s = held_products(keys.k0, 0u, lane);
    }
    if is_held(1u) {
        s += held_products(keys.k1, 1u, lane);
    }
    if is_held(2u) {
        s += held_products(keys.k2, 2u, lane);
    }
    if is_held(3u) {
        s += held_products(keys.k3, 3u, lane);
    }
    for (var o = lane % team + HELD * team; o < head_octets(); o += team) {
        s += products(octet(key(at, o), o), o);
    }
    return s;
}
