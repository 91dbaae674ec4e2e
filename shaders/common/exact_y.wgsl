// part: normed
// gives const: ROUNDED
// gives fn: round_quads, round_block

// Rows of a norm stay as they are.

const ROUNDED: u32 = 0u;

fn round_quads(output: u32, t: u32, lane: u32, j: u32, value: vec4<f32>) {
}

fn round_block(output: u32, t: u32, block: u32, r: array<vec4<f32>, 4>) {
}
