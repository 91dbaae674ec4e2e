// needs strips: GARBAGE, NO_TOKEN, STRIP_QUADS, ids_of, keys_of, logit_of, params
// gives override: THREADS, STRIPS, PLACE_BITS, ROLLED
// gives const: MAX_TOP_K, ROUNDS, NOT_FINITE
// gives struct: Draw, Token
// gives var: maxima, draws, ids, counts, found, strips, tokens, ordered, weights
// gives fn: strip_quads, quad_at, reach, search, outranks, drawn, main

// ids[t] = a token drawn from softmax(logits[t] / temperature) over its top_k largest, the lower id first on a tie, and of
// those the fewest that reach top_p: the first whose summed probability exceeds the host's random number.
// NOT_FINITE where a logit is NaN or plus infinity, or none is above minus infinity: never a token from garbage.
//
// One workgroup a row finds the strips that hold the top_k, then the tokens in these, each time by its rank: key, then
// place. Ranks are distinct, so that exactly top_k are not below the bound that a search finds bit by bit.

override THREADS: u32 = 256;
override STRIPS: u32 = 4096;   // of a row, as params.strips
override PLACE_BITS: u32 = 18; // of an id
override ROLLED: bool = false;  // whether compilers must not know how long loops over strips are, and so leave them loops
const MAX_TOP_K: u32 = 128u;
const ROUNDS: u32 = 64u;       // of a search at most
const NOT_FINITE: u32 = 0xffffffffu;

struct Draw {
    top_k: u32, // 1 to MAX_TOP_K
    top_p: f32,
    inverse_temperature: f32,
    random: f32, // [0, 1]
}

@group(0) @binding(2) var<storage, read> maxima: array<vec4<u32>>; // [rows, strips / 4]
@group(0) @binding(3) var<storage, read> draws: array<Draw>;       // [rows]
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;    // [rows]

struct Token {
    key: u32,
    id: u32,
}

var<workgroup> counts: array<atomic<u32>, 128>; // of the rounds of both searches
var<workgroup> found: array<atomic<u32>, 2>;    // by either search
var<workgroup> strips: array<u32, MAX_TOP_K>;   // in any order
var<workgroup> tokens: array<Token, MAX_TOP_K>; // in any order
var<workgroup> ordered: array<Token, MAX_TOP_K>;
var<workgroup> weights: array<f32, MAX_TOP_K>;

fn strip_quads() -> u32 {
    if ROLLED {
        return params.strips / 4u;
    }
    return STRIPS / 4u;
}

// The quad that is number i of a search: of strips, or of tokens in the strips that were found.
fn quad_at(of_tokens: bool, i: u32) -> u32 {
    if of_tokens {
        return strips[i / STRIP_QUADS] * STRIP_QUADS + i % STRIP_QUADS;
    }
    return i;
}

// 1 where a rank in a quad is not below `bound`.
fn reach(row: u32, of_tokens: bool, quad: u32, bound: vec2<u32>) -> vec4<u32> {
    var keys: vec4<u32>;
    if of_tokens {
        keys = keys_of(row, quad);
    } else {
        keys = maxima[row * (STRIPS / 4u) + quad];
    }
    let places = vec4((1u << PLACE_BITS) - 1u) - ids_of(quad); // lower ids are higher
    let on_tie = select(vec4(0u), vec4(1u), places >= vec4(bound.y));
    return select(select(vec4(0u), on_tie, keys == vec4(bound.x)), vec4(1u), keys > vec4(bound.x));
}

// The rank of the top_k-th among n_quads quads, the lowest possible one where they are fewer.
fn search(row: u32, of_tokens: bool, n_quads: u32, top_k: u32, lane: u32) -> vec2<u32> {
    let first_round = select(0u, ROUNDS, of_tokens);
    var bound = vec2(0u);
    for (var round = 0u; round < 32u + PLACE_BITS; round++) {
        var next = bound;
        if round < 32u {
            next.x |= 1u << (31u - round);
        } else {
            next.y |= 1u << (31u + PLACE_BITS - round);
        }
        var own = vec4(0u);
        for (var i = lane; i < n_quads; i += THREADS) {
            own += reach(row, of_tokens, quad_at(of_tokens, i), next);
        }
        let count = own.x + own.y + own.z + own.w;
        if count > 0u {
            atomicAdd(&counts[first_round + round], count);
        }
        workgroupBarrier();
        if atomicLoad(&counts[first_round + round]) >= top_k {
            bound = next;
        }
    }
    return bound;
}

fn outranks(a: Token, b: Token) -> bool {
    let is_earlier = a.id < b.id;
    return a.key > b.key || (a.key == b.key && is_earlier);
}

// The id that `draw` falls on among the first top_k of `ordered`.
fn drawn(draw: Draw, top_k: u32) -> u32 {
    let best = ordered[0].key;
    if best == GARBAGE || best == NO_TOKEN {
        return NOT_FINITE;
    }
    var total = 0.0;
    for (var i = 0u; i < top_k; i++) {
        total += weights[i];
    }
    var kept = weights[0];
    var n = 1u;
    while n < top_k && kept < draw.top_p * total {
        kept += weights[n];
        n++;
    }
    var reached = weights[0];
    var at = 0u;
    while at + 1u < n && reached <= draw.random * kept {
        at++;
        reached += weights[at];
    }
    return ordered[at].id;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y;
    let draw = draws[row];
    let top_k = clamp(draw.top_k, 1u, MAX_TOP_K);
    for (var i = lane; i < 2u * ROUNDS; i += THREADS) {
        atomicStore(&counts[i], 0u);
    }
    if lane < 2u {
        atomicStore(&found[lane], 0u);
    }
    workgroupBarrier();

    var bound = search(row, false, strip_quads(), top_k, lane);
    for (var quad = lane; quad < strip_quads(); quad += THREADS) {
        let reaches = reach(row, false, quad, bound);
        for (var c = 0u; c < 4u; c++) {
            if reaches[c] == 1u {
                strips[atomicAdd(&found[0], 1u)] = 4u * quad + c;
            }
        }
    }
    workgroupBarrier();

    let token_quads = min(top_k, STRIPS) * STRIP_QUADS;
    bound = search(row, true, token_quads, top_k, lane);
    for (var i = lane; i < token_quads; i += THREADS) {
        let quad = quad_at(true, i);
        let keys = keys_of(row, quad);
        let reaches = reach(row, true, quad, bound);
        for (var c = 0u; c < 4u; c++) {
            if reaches[c] == 1u {
                tokens[atomicAdd(&found[1], 1u)] = Token(keys[c], 4u * quad + c);
            }
        }
    }
    workgroupBarrier();

    for (var i = lane; i < top_k; i += THREADS) {
        let token = tokens[i];
        var before = 0u;
        for (var j = 0u; j < top_k; j++) {
            before += u32(outranks(tokens[j], token));
        }
        ordered[before] = token;
    }
    workgroupBarrier();
    let largest = logit_of(ordered[0].key);
    for (var i = lane; i < top_k; i += THREADS) {
        // Far below where f32 ends: a tiny temperature makes infinities.
        let exponent = max((logit_of(ordered[i].key) - largest) * draw.inverse_temperature, -200.0);
        weights[i] = select(exp(exponent), 0.0, ordered[i].key == NO_TOKEN);
    }
    workgroupBarrier();
    if lane == 0u {
        ids[row] = drawn(draw, top_k);
    }
}
