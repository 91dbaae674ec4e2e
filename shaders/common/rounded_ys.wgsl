// part: normed when rounded twice
// brings: rounding, round_quads
// gives const: ROUNDED
// gives var: rounded0, rounded1
// gives fn: put

// The first two outputs of a norm are also rounded for the products that read them.

const ROUNDED: u32 = 2u;

@group(0) @binding(8) var<storage, read_write> rounded0: array<vec4<u32>>; // [rows, 3, chunks]
@group(0) @binding(9) var<storage, read_write> rounded1: array<vec4<u32>>; // [rows, 3, chunks]

fn put(output: u32, at: u32, component: u32, word: u32) {
    if output == 0u {
        rounded0[at][component] = word;
    } else {
        rounded1[at][component] = word;
    }
}
