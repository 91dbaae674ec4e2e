// part: kv_blocks
// needs enable_matrix: f16
// needs rows: Row
// needs kv: Packed, head_quads, octet, quad_a, quad_b
// needs matrices: put_w
// needs around: CHUNK, FROM_CACHE, KEYS, MATRIX_LANES, k_cache, k_new, params, v_cache, v_new
// gives struct: Block, Held
// gives fn: block_at, quad_at, n_held, octet_of, key_of, fetch_key, fetch_value, fetch_keys, fetch_values, put_octet, put

// Blocks of KEYS keys or values on their way from the cache, or from a step's new rows, to tile_w: CHUNK dimensions at a
// time, in rows of CHUNK values and eight that keep rows on different banks, and aligned.

// A block: positions from `base` to `end`, the first of them in row `first + place`, with `wrap` rows until rows begin again
// at `first`.
struct Block {
    base: u32,
    end: u32,
    cached: bool,
    first: u32,
    place: u32,
    wrap: u32,
}

fn block_at(row: Row, base: u32, end: u32) -> Block {
    let cached = FROM_CACHE || base < row.first_position;
    // A block comes from the cache or from new rows, not from both.
    let block_end = min(base + KEYS, select(end, min(end, row.first_position), !FROM_CACHE && cached));
    if cached {
        let ring = row.slot * params.capacity;
        return Block(base, block_end, true, ring, base % params.capacity, params.capacity);
    }
    return Block(base, block_end, false, row.first, base - row.first_position, 0xffffffffu);
}

// Quad where the block's key n begins. Behind the last key stands the last once more: what nobody has written may be NaN,
// and a weight of 0 would not hide it.
fn quad_at(block: Block, kv_head: u32, n: u32) -> u32 {
    let place = block.place + min(n, block.end - 1u - block.base);
    let row = block.first + select(place, place - block.wrap, place >= block.wrap);
    return row * params.kv_stride + kv_head * head_quads();
}

// A lane's octets of a chunk, at most four: always of the same dimensions.
struct Held {
    o0: Packed,
    o1: Packed,
    o2: Packed,
    o3: Packed,
}

fn n_held() -> u32 {
    return KEYS * CHUNK / 8u / MATRIX_LANES;
}
fn octet_of(chunk: u32, lane: u32) -> u32 {
    return chunk * (CHUNK / 8u) + lane % (CHUNK / 8u);
}
// The key of number i of a lane's octets.
fn key_of(i: u32, lane: u32) -> u32 {
    return (i * MATRIX_LANES + lane) / (CHUNK / 8u);
}

fn fetch_key(block: Block, kv_head: u32, o: u32, n: u32) -> Packed {
    let at = quad_at(block, kv_head, n);
    if FROM_CACHE || block.cached {
        return Packed(k_cache[at + quad_a(o)], k_cache[at + quad_b(o)]);
    }
    return Packed(k_new[at + quad_a(o)], k_new[at + quad_b(o)]);
}

fn fetch_value(block: Block, kv_head: u32, o: u32, n: u32) -> Packed {
    let at = quad_at(block, kv_head, n);
    if FROM_CACHE || block.cached {
        return Packed(v_cache[at + quad_a(o)], v_cache[at + quad_b(o)]);
    }
    return Packed(v_new[at + quad_a(o)], v_new[at + quad_b(o)]);
}

fn fetch_keys(block: Block, kv_head: u32, chunk: u32, lane: u32) -> Held {
    var held: Held;
    let o = octet_of(chunk, lane);
    held.o0 = fetch_key(block, kv_head, o, key_of(0u, lane));
    if n_held() > 1u {
        held.o1 = fetch_key(block, kv_head, o, key_of(1u, lane));
    }
    if n_held() > 2u {
        held.o2 = fetch_key(block, kv_head, o, key_of(2u, lane));
        held.o3 = fetch_key(block, kv_head, o, key_of(3u, lane));
    }
    return held;
}

fn fetch_values(block: Block, kv_head: u32, chunk: u32, lane: u32) -> Held {
    var held: Held;
    let o = octet_of(chunk, lane);
    held.o0 = fetch_value(block, kv_head, o, key_of(0u, lane));
    if n_held() > 1u {
        held.o1 = fetch_value(block, kv_head, o, key_of(1u, lane));
    }
    if n_held() > 2u {
        held.o2 = fetch_value(block, kv_head, o, key_of(2u, lane));
        held.o3 = fetch_value(block, kv_head, o, key_of(3u, lane));
    }
    return held;
}

fn put_octet(packed: Packed, o: u32, n: u32) {
    let values = octet(packed, o);
    let quad = n * (CHUNK / 4u + 2u) + o % (CHUNK / 8u) * 2u;
    put_w(quad, vec4<f16>(values.lo));
    put_w(quad + 1u, vec4<f16>(values.hi));
}

fn put(held: Held, chunk: u32, lane: u32) {
    let o = octet_of(chunk, lane);
    put_octet(held.o0, o, key_of(0u, lane));
    if n_held() > 1u {
        put_octet(held.o1, o, key_of(1u, lane));
    }
    if n_held() > 2u {
        put_octet(held.o2, o, key_of(2u, lane));
        put_octet(held.o3, o, key_of(3u, lane));
    }
}
