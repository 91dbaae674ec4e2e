// Weighted sums of an octet of values for up to 4 heads.

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

fn add(sums: ptr<function, Sums>, w: vec4<f32>, v: Octet) {
    (*sums).lo0 += w.x * v.lo;
    (*sums).hi0 += w.x * v.hi;
    if HEADS > 1u {
        (*sums).lo1 += w.y * v.lo;
        (*sums).hi1 += w.y * v.hi;
    }
    if HEADS > 2u {
        (*sums).lo2 += w.z * v.lo;
        (*sums).hi2 += w.z * v.hi;
    }
    if HEADS > 3u {
        (*sums).lo3 += w.w * v.lo;
        (*sums).hi3 += w.w * v.hi;
    }
}

fn rescale_sums(sums: ptr<function, Sums>, factor: vec4<f32>) {
    (*sums).lo0 *= factor.x;
    (*sums).hi0 *= factor.x;
    (*sums).lo1 *= factor.y;
    (*sums).hi1 *= factor.y;
    (*sums).lo2 *= factor.z;
    (*sums).hi2 *= factor.z;
    (*sums).lo3 *= factor.w;
    (*sums).hi3 *= factor.w;
}

fn sum_of(sums: Sums, h: u32) -> Octet {
    let lo = select(select(sums.lo0, sums.lo1, h == 1u), select(sums.lo2, sums.lo3, h == 3u), h >= 2u);
    let hi = select(select(sums.hi0, sums.hi1, h == 1u), select(sums.hi2, sums.hi3, h == 3u), h >= 2u);
    return Octet(lo, hi);
}
