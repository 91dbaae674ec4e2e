// Rows of a norm stay as they are.

const ROUNDED: u32 = 0u;

fn round_held(output: u32, t: u32, lane: u32, values: array<vec4<f32>, MAX_HELD>) {
}

fn round_block(output: u32, t: u32, block: u32, r: array<vec4<f32>, 4>) {
}
