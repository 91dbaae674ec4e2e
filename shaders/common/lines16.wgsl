// part: lines when matrix16
// needs enable_matrix: f16
// needs around: CELLS_S
// gives var: q, scores
// gives fn: score_quad, put_score_quad, score, put_score

// Queries and scores for matrices of 16 x 16: four values a cell.

@group(0) @binding(1) var<storage, read> q: array<vec4<f16>>; // [KV heads, q_lines / 16, HEAD_DIM / 16, 16, 16 / 4]

var<workgroup> scores: array<vec4<f32>, CELLS_S>;

fn score_quad(quad: u32) -> vec4<f32> {
    return scores[quad];
}

fn put_score_quad(quad: u32, values: vec4<f32>) {
    scores[quad] = values;
}

fn score(at: u32) -> f32 {
    return scores[at / 4u][at % 4u];
}

fn put_score(at: u32, value: f32) {
    scores[at / 4u][at % 4u] = value;
}
