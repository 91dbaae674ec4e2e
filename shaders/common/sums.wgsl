// part: sums
// needs kv: Octet, Packed, head_octets, octet, packed_half
// needs around: HEADS
// gives override: QUADS
// gives struct: Sums
// gives fn: n_columns, values_of, add, rescale_sums, sum_of

// Weighted sums of a column of values, an octet or half of one, for up to 4 heads.

override QUADS: u32 = 2; // quads of values that a lane adds up: 1 or 2

struct Sums {
    lo0: vec4<f32>,
    hi0: vec4<f32>,
    lo1: vec4<f32>,
    hi1: vec4<f32>,
    lo2: vec4<f32>,
    hi2: vec4<f32>,
    lo3: vec4<f32>,
    hi3: vec4<f32>,
}

// How many lanes share a head's values.
fn n_columns() -> u32 {
    return head_octets() * 2u / QUADS;
}

// The values of a column; of one quad there is no other half.
fn values_of(packed: Packed, column: u32) -> Octet {
    if QUADS == 2u {
        return octet(packed, column);
    }
    return Octet(packed_half(packed, column), vec4(0.0));
}

fn add(sums: ptr<function, Sums>, w: vec4<f32>, v: Octet) {
    (*sums).lo0 += w.x * v.lo;
    if HEADS > 1u {
        (*sums).lo1 += w.y * v.lo;
    }
    if HEADS > 2u {
        (*sums).lo2 += w.z * v.lo;
    }
    if HEADS > 3u {
        (*sums).lo3 += w.w * v.lo;
    }
    if QUADS == 2u {
        (*sums).hi0 += w.x * v.hi;
        if HEADS > 1u {
            (*sums).hi1 += w.y * v.hi;
        }
        if HEADS > 2u {
            (*sums).hi2 += w.z * v.hi;
        }
        if HEADS > 3u {
            (*sums).hi3 += w.w * v.hi;
        }
    }
}

fn rescale_sums(sums: ptr<function, Sums>, factor: vec4<f32>) {
    (*sums).lo0 *= factor.x;
    if HEADS > 1u {
        (*sums).lo1 *= factor.y;
    }
    if HEADS > 2u {
        (*sums).lo2 *= factor.z;
    }
    if HEADS > 3u {
        (*sums).lo3 *= factor.w;
    }
    if QUADS == 2u {
        (*sums).hi0 *= factor.x;
        if HEADS > 1u {
            (*sums).hi1 *= factor.y;
        }
        if HEADS > 2u {
            (*sums).hi2 *= factor.z;
        }
        if HEADS > 3u {
            (*sums).hi3 *= factor.w;
        }
    }
}

fn sum_of(sums: Sums, h: u32) -> Octet {
    let lo = select(select(sums.lo0, sums.lo1, h == 1u), select(sums.lo2, sums.lo3, h == 3u), h >= 2u);
    let hi = select(select(sums.hi0, sums.hi1, h == 1u), select(sums.hi2, sums.hi3, h == 3u), h >= 2u);
    return Octet(lo, hi);
}
