// part: reading when dense
// needs weights: weights32, weights8
// gives struct: Read8, Read32
// gives fn: read8, weights_of, read32, weights_of32

// Eight dense weights; `common/read_packed.wgsl` says why in two steps.

struct Read8 {
    w: array<vec4<f32>, 2>,
}

fn read8(row: u32, word: u32) -> Read8 {
    return Read8(weights8(row, word));
}

fn weights_of(read: Read8, row: u32, word: u32, factor: f32) -> array<vec4<f32>, 2> {
    return array(read.w[0] * factor, read.w[1] * factor);
}

struct Read32 {
    w: array<vec4<f32>, 8>,
}

fn read32(row: u32, chunk: u32) -> Read32 {
    return Read32(weights32(row, chunk));
}

fn weights_of32(read: Read32, row: u32, chunk: u32, i: u32, factor: f32) -> array<vec4<f32>, 2> {
    return array(read.w[2u * i] * factor, read.w[2u * i + 1u] * factor);
}
