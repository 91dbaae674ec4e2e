// part: four_sums
// needs kv: Octet
// gives struct: FourSums
// gives fn: add, rescale

// Sums of an octet of the values for four lines, and of their weights.
struct FourSums {
    lo0: vec4<f32>,
    hi0: vec4<f32>,
    lo1: vec4<f32>,
    hi1: vec4<f32>,
    lo2: vec4<f32>,
    hi2: vec4<f32>,
    lo3: vec4<f32>,
    hi3: vec4<f32>,
    total: vec4<f32>,
}

fn add(s: ptr<function, FourSums>, w: vec4<f32>, v: Octet) {
    (*s).lo0 += w.x * v.lo;
    (*s).hi0 += w.x * v.hi;
    (*s).lo1 += w.y * v.lo;
    (*s).hi1 += w.y * v.hi;
    (*s).lo2 += w.z * v.lo;
    (*s).hi2 += w.z * v.hi;
    (*s).lo3 += w.w * v.lo;
    (*s).hi3 += w.w * v.hi;
    (*s).total += w;
}

fn rescale(s: ptr<function, FourSums>, factor: vec4<f32>) {
    (*s).lo0 *= factor.x;
    (*s).hi0 *= factor.x;
    (*s).lo1 *= factor.y;
    (*s).hi1 *= factor.y;
    (*s).lo2 *= factor.z;
    (*s).hi2 *= factor.z;
    (*s).lo3 *= factor.w;
    (*s).hi3 *= factor.w;
    (*s).total *= factor;
}
