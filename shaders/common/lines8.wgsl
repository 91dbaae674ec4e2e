// part: lines when matrix8
// needs enable_matrix: f16
// needs around: CELLS_S
// gives var: q, scores
// gives fn: score_quad, put_score_quad, score, put_score

// Queries and scores for matrices of 8 x 8, which Metal loads from single values.

@group(0) @binding(1) var<storage, read> q: array<f16>; // [KV heads, q_lines / 8, HEAD_DIM / 8, 8, 8]

var<workgroup> scores: array<f32, CELLS_S>;

fn score_quad(quad: u32) -> vec4<f32> {
    let at = 4u * quad;
    return vec4(scores[at], scores[at + 1u], scores[at + 2u], scores[at + 3u]);
}

fn put_score_quad(quad: u32, values: vec4<f32>) {
    scores[4u * quad] = values.x;
    scores[4u * quad + 1u] = values.y;
    scores[4u * quad + 2u] = values.z;
    scores[4u * quad + 3u] = values.w;
}

fn score(at: u32) -> f32 {
    return scores[at];
}

fn put_score(at: u32, value: f32) {
    scores[at] = value;
}
