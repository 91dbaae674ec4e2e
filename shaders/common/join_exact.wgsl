// part: joined
// gives fn: round_quads

// What attention_join.wgsl makes stays as it is.

fn round_quads(t: u32, chunk: u32, lane: u32, quad: vec4<f32>) {
}
