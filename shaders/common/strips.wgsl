// part: strips
// gives const: STRIP_QUADS, NO_TOKEN, GARBAGE
// gives struct: Params
// gives var: params, logits
// gives fn: sort_keys, logit_of, ids_of, keys_of

// Logits as integers of the same order, in strips of 64 neighbours. 0 and -0 are equal.

const STRIP_QUADS: u32 = 16u;
const NO_TOKEN: u32 = 0u;          // minus infinity, which is never drawn, and what lies beyond the row
const GARBAGE: u32 = 0xffffffffu;  // NaN and plus infinity: above all others

struct Params {
    width: u32,
    stride: u32, // of logits
    strips: u32, // of a row, whole quads
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4<u32>>; // [rows, stride / 4]: bits of f32

fn sort_keys(bits: vec4<u32>) -> vec4<u32> {
    let magnitude = bits & vec4(0x7fffffffu);
    let negative = select(~bits, vec4(0x80000000u), magnitude == vec4(0u));
    var keys = select(bits | vec4(0x80000000u), negative, bits > magnitude);
    keys = select(keys, vec4(GARBAGE), magnitude >= vec4(0x7f800000u));
    return select(keys, vec4(NO_TOKEN), bits == vec4(0xff800000u));
}

// The logit of a key that is none of the two special ones.
fn logit_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u));
}

// The ids of a quad of tokens.
fn ids_of(quad: u32) -> vec4<u32> {
    return vec4(4u * quad) + vec4(0u, 1u, 2u, 3u);
}

fn keys_of(row: u32, quad: u32) -> vec4<u32> {
    let bits = logits[row * (params.stride / 4u) + min(quad, (params.width - 1u) / 4u)];
    return select(vec4(NO_TOKEN), sort_keys(bits), ids_of(quad) < vec4(params.width));
}
