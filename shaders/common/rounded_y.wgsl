// part: normed when rounded
// brings: rounding, round_quads
// gives const: ROUNDED
// gives var: rounded
// gives fn: put

// The first output of a norm is also rounded for the products that read it.

const ROUNDED: u32 = 1u;

@group(0) @binding(8) var<storage, read_write> rounded: array<vec4<u32>>; // [rows, 3, chunks]

fn put(output: u32, at: u32, component: u32, word: u32) {
    rounded[at][component] = word;
}
