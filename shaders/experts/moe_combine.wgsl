// needs reduce: THREADS, workgroup_sum, workgroup_sums
// needs held: HELD, LATE, MAX_HELD, WIDTH, is_held, quad_of, rms_factor, squares_of
// needs normed: ROUNDED, round_block, round_quads
// gives struct: Params, Quad
// gives var: params, mlp, experts, norms, h, y
// gives fn: norm, loaded, norm_quad, held, walked, main

// The end of a mixture-of-experts layer. With w the rows of norms:
// m = rms(mlp[t]) * w[post_1] + rms(experts[t]) * w[post_2]
// h[t] = (h[t] + rms(m) * w[post]) * layer_scalar ; y[t] = rms(h[t]) * w[next]
// One workgroup a row.

struct Params {
    stride: u32,
    post_1: u32,
    post_2: u32,
    post: u32,
    next: u32,
    scalar: f32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mlp: array<vec4<f32>>;     // [rows, stride / 4]
@group(0) @binding(2) var<storage, read> experts: array<vec4<f32>>; // [rows, stride / 4]: weighted sum
@group(0) @binding(3) var<storage, read> norms: array<vec4<f32>>;   // [weights, stride / 4]
@group(0) @binding(4) var<storage, read_write> h: array<vec4<f32>>; // [rows, stride / 4]
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>; // [rows, stride / 4]

// A lane's quad of what the kernel reads, and what becomes of it: mlp, then m, then the new h.
struct Quad {
    value: vec4<f32>,
    experts: vec4<f32>,
    h: vec4<f32>,
    post_1: vec4<f32>,
    post_2: vec4<f32>,
    post: vec4<f32>,
    next: vec4<f32>,
}

// The place of quad `at` of a row of norms.
fn norm(weight: u32, at: u32) -> u32 {
    return weight * (params.stride / 4u) + at;
}

fn loaded(t: u32, at: u32) -> Quad {
    let row = t * (params.stride / 4u);
    var q: Quad;
    q.value = mlp[row + at];
    q.h = h[row + at];
    if !LATE {
        q.post_1 = norms[norm(params.post_1, at)];
        q.post_2 = norms[norm(params.post_2, at)];
        q.post = norms[norm(params.post, at)];
        q.next = norms[norm(params.next, at)];
    }
    q.experts = experts[row + at];
    return q;
}

// The quad of a row of norms that `loaded` may have read.
fn norm_quad(weight: u32, lane: u32, j: u32, read: vec4<f32>) -> vec4<f32> {
    if LATE {
        return norms[norm(weight, quad_of(lane, j))];
    }
    return read;
}

fn held(lane: u32, t: u32) {
    let row = t * (params.stride / 4u);
    var q: array<Quad, MAX_HELD>;
    for (var j = 0u; j < HELD; j++) {
        q[j] = loaded(t, quad_of(lane, j));
    }
    var both = vec2(0.0);
    for (var j = 0u; j < HELD; j++) {
        both += vec2(squares_of(lane, j, q[j].value), squares_of(lane, j, q[j].experts));
    }
    both = workgroup_sums(lane, both);
    let mlp_factor = rms_factor(both.x);
    let expert_factor = rms_factor(both.y);
    var squares = 0.0;
    for (var j = 0u; j < HELD; j++) {
        let post_1 = norm_quad(params.post_1, lane, j, q[j].post_1);
        let post_2 = norm_quad(params.post_2, lane, j, q[j].post_2);
        q[j].value = q[j].value * mlp_factor * post_1 + q[j].experts * expert_factor * post_2;
        squares += squares_of(lane, j, q[j].value);
    }
    let m_factor = rms_factor(workgroup_sum(lane, squares));
    squares = 0.0;
    for (var j = 0u; j < HELD; j++) {
        let post = norm_quad(params.post, lane, j, q[j].post);
        q[j].value = (q[j].h + q[j].value * m_factor * post) * params.scalar;
        squares += squares_of(lane, j, q[j].value);
    }
    let next_factor = rms_factor(workgroup_sum(lane, squares));
    for (var j = 0u; j < HELD; j++) {
        let next = norm_quad(params.next, lane, j, q[j].next);
        let normed = select(vec4(0.0), q[j].value * next_factor * next, is_held(lane, j));
        if is_held(lane, j) {
            let at = row + quad_of(lane, j);
            h[at] = q[j].value;
            y[at] = normed;
        }
        if ROUNDED > 0u {
            round_quads(0u, t, lane, j, normed);
        }
    }
}

fn walked(lane: u32, t: u32) {
    let row = t * (params.stride / 4u);
    var both = vec2(0.0);
    for (var i = lane; i < WIDTH; i += THREADS) {
        let at = row + i / 4u;
        let sum = experts[at][i % 4u];
        let value = mlp[at][i % 4u];
        both += vec2(value * value, sum * sum);
    }
    both = workgroup_sums(lane, both);
    let mlp_factor = rms_factor(both.x);
    let expert_factor = rms_factor(both.y);
    var squares = 0.0;
    for (var i = lane; i < WIDTH; i += THREADS) {
        let at = row + i / 4u;
        let m = mlp[at][i % 4u] * mlp_factor * norms[norm(params.post_1, i / 4u)][i % 4u]
            + experts[at][i % 4u] * expert_factor * norms[norm(params.post_2, i / 4u)][i % 4u];
        y[at][i % 4u] = m;
        squares += m * m;
    }
    let m_factor = rms_factor(workgroup_sum(lane, squares));
    squares = 0.0;
    for (var i = lane; i < WIDTH; i += THREADS) {
        let at = row + i / 4u;
        let normed = y[at][i % 4u] * m_factor * norms[norm(params.post, i / 4u)][i % 4u];
        let value = (h[at][i % 4u] + normed) * params.scalar;
        h[at][i % 4u] = value;
        squares += value * value;
    }
    let next_factor = rms_factor(workgroup_sum(lane, squares));
    for (var i = lane; i < WIDTH; i += THREADS) {
        let at = row + i / 4u;
        y[at][i % 4u] = h[at][i % 4u] * next_factor * norms[norm(params.next, i / 4u)][i % 4u];
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if HELD > 0u {
        held(lane, group.y);
        return;
    }
    walked(lane, group.y);
    if ROUNDED > 0u {
        storageBarrier(); // Lanes read what others have written.
        for (var block = lane; block < (WIDTH + 15u) / 16u; block += THREADS) {
            let at = group.y * (params.stride / 4u) + 4u * block;
            round_block(0u, group.y, block, array(y[at], y[at + 1u], y[at + 2u], y[at + 3u]));
        }
    }
}
