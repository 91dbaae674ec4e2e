// part: rounded
// gives struct: Rounded16
// gives fn: magnitude, step_of_largest, rounded16

// Activations rounded to int8, in blocks of 16 that share a scale: x[k] = scale * code[k], to half a step of the block.
// A row has three planes with a vec4 for each chunk of 32 activations, so that lanes with neighbouring chunks read
// neighbouring vec4: the codes of a chunk's first block, of its second one, and both scales and, for zero points, both
// scaled sums of codes. A word holds every other one of eight activations, in the order in which the codes of weights
// come out of a word: 0 2 4 6, then 1 3 5 7.

struct Rounded16 {
    codes: vec4<u32>,
    scale: f32,
    sum: f32, // scale times the sum of the codes
}

fn magnitude(v: vec4<f32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(v) & vec4(0x7fffffffu);
}

// The scale of a block whose largest magnitude this is, and what makes codes of its values: 0 in blocks whose reciprocal
// would not be finite.
fn step_of_largest(largest: f32) -> vec2<f32> {
    return vec2(largest / 127.0, select(127.0 / largest, 0.0, largest < 1e-30));
}

fn rounded16(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> Rounded16 {
    // Compared as bits: a NaN is larger than every number, becomes the scale, and is not lost.
    let m = max(max(magnitude(a), magnitude(b)), max(magnitude(c), magnitude(d)));
    let step = step_of_largest(bitcast<f32>(max(max(m.x, m.y), max(m.z, m.w))));
    let ia = vec4<i32>(round(a * step.y));
    let ib = vec4<i32>(round(b * step.y));
    let ic = vec4<i32>(round(c * step.y));
    let id = vec4<i32>(round(d * step.y));
    let all = ia + ib + ic + id;
    let codes = vec4(
        pack4xI8(vec4(ia.xz, ib.xz)),
        pack4xI8(vec4(ia.yw, ib.yw)),
        pack4xI8(vec4(ic.xz, id.xz)),
        pack4xI8(vec4(ic.yw, id.yw)),
    );
    return Rounded16(codes, step.x, step.x * f32(all.x + all.y + all.z + all.w));
}
