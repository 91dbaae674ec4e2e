// needs reduce: THREADS, workgroup_sum
// needs held: HELD, LATE, MAX_HELD, WIDTH, is_held, quad_of, rms_factor, squares_of
// needs normed: ROUNDED, round_block, round_quads
// gives override: OUTPUTS
// gives struct: Params, Quad
// gives var: params, x, norms, h, y0, y1, y2
// gives fn: norm, loaded, norm_quad, held, walked, main

// h[t] = (h[t] + rms(x[t]) * norms[post]) * scalar: a block's result joins the residual stream, and then
// y_i[t] = rms(h[t]) * norms[pre + i] for the OUTPUTS blocks that read it next. One workgroup a row.

override OUTPUTS: u32 = 1; // 0 to 3

struct Params {
    stride: u32, // of h, x and all y
    post: u32,   // row of norms
    pre: u32,    // row of norms of y0; y1 and y2 take the next rows
    scalar: f32, // layer_scalar where the block is a layer's last, else 1
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // [rows, stride / 4]
@group(0) @binding(2) var<storage, read> norms: array<vec4<f32>>;    // [weights, stride / 4]
@group(0) @binding(3) var<storage, read_write> h: array<vec4<f32>>;  // [rows, stride / 4]
@group(0) @binding(4) var<storage, read_write> y0: array<vec4<f32>>; // [rows, stride / 4]
@group(0) @binding(5) var<storage, read_write> y1: array<vec4<f32>>; // [rows, stride / 4]
@group(0) @binding(6) var<storage, read_write> y2: array<vec4<f32>>; // [rows, stride / 4]

// A lane's quad of what the kernel reads, and what becomes of it: x, then the new h.
struct Quad {
    value: vec4<f32>,
    h: vec4<f32>,
    post: vec4<f32>,
    pre0: vec4<f32>,
    pre1: vec4<f32>,
    pre2: vec4<f32>,
}

// The place of quad `at` of a row of norms.
fn norm(weight: u32, at: u32) -> u32 {
    return weight * (params.stride / 4u) + at;
}

fn loaded(row: u32, at: u32) -> Quad {
    var q: Quad;
    q.value = x[row + at];
    q.h = h[row + at];
    if !LATE {
        q.post = norms[norm(params.post, at)];
    }
    if !LATE && OUTPUTS > 0u {
        q.pre0 = norms[norm(params.pre, at)];
    }
    if !LATE && OUTPUTS > 1u {
        q.pre1 = norms[norm(params.pre + 1u, at)];
    }
    if !LATE && OUTPUTS > 2u {
        q.pre2 = norms[norm(params.pre + 2u, at)];
    }
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
        q[j] = loaded(row, quad_of(lane, j));
    }
    var squares = 0.0;
    for (var j = 0u; j < HELD; j++) {
        squares += squares_of(lane, j, q[j].value);
    }
    let post_factor = rms_factor(workgroup_sum(lane, squares));
    squares = 0.0;
    for (var j = 0u; j < HELD; j++) {
        let post = norm_quad(params.post, lane, j, q[j].post);
        q[j].value = (q[j].h + q[j].value * post_factor * post) * params.scalar;
        squares += squares_of(lane, j, q[j].value);
    }
    let pre_factor = rms_factor(workgroup_sum(lane, squares));
    for (var j = 0u; j < HELD; j++) {
        let value = select(vec4(0.0), q[j].value * pre_factor, is_held(lane, j));
        if is_held(lane, j) {
            let at = row + quad_of(lane, j);
            h[at] = q[j].value;
            if OUTPUTS > 0u {
                y0[at] = value * norm_quad(params.pre, lane, j, q[j].pre0);
            }
            if OUTPUTS > 1u {
                y1[at] = value * norm_quad(params.pre + 1u, lane, j, q[j].pre1);
            }
            if OUTPUTS > 2u {
                y2[at] = value * norm_quad(params.pre + 2u, lane, j, q[j].pre2);
            }
        }
        if ROUNDED > 0u {
            round_quads(0u, t, lane, j, value * norm_quad(params.pre, lane, j, q[j].pre0));
        }
        if ROUNDED > 1u {
            round_quads(1u, t, lane, j, value * norm_quad(params.pre + 1u, lane, j, q[j].pre1));
        }
    }
}

fn walked(lane: u32, row: u32) {
    let quads = params.stride / 4u;
    var squares = 0.0;
    for (var i = lane; i < WIDTH; i += THREADS) {
        let value = x[row + i / 4u][i % 4u];
        squares += value * value;
    }
    let post_factor = rms_factor(workgroup_sum(lane, squares));
    squares = 0.0;
    for (var i = lane; i < WIDTH; i += THREADS) {
        let at = row + i / 4u;
        let normed = x[at][i % 4u] * post_factor * norms[params.post * quads + i / 4u][i % 4u];
        let value = (h[at][i % 4u] + normed) * params.scalar;
        h[at][i % 4u] = value;
        squares += value * value;
    }
    let pre_factor = rms_factor(workgroup_sum(lane, squares));
    for (var i = lane; i < WIDTH; i += THREADS) {
        let at = row + i / 4u;
        let value = h[at][i % 4u] * pre_factor; // The lane's own write: no barrier needed.
        let weight = params.pre * quads + i / 4u;
        if OUTPUTS > 0u {
            y0[at][i % 4u] = value * norms[weight][i % 4u];
        }
        if OUTPUTS > 1u {
            y1[at][i % 4u] = value * norms[weight + quads][i % 4u];
        }
        if OUTPUTS > 2u {
            y2[at][i % 4u] = value * norms[weight + 2u * quads][i % 4u];
        }
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if HELD > 0u {
        held(lane, group.y);
        return;
    }
    let row = group.y * (params.stride / 4u);
    walked(lane, row);
    if ROUNDED > 0u {
        storageBarrier(); // Lanes read what others have written.
        for (var block = lane; block < (WIDTH + 15u) / 16u; block += THREADS) {
            let at = row + 4u * block;
            round_block(0u, group.y, block, array(y0[at], y0[at + 1u], y0[at + 2u], y0[at + 3u]));
            if ROUNDED > 1u {
                round_block(1u, group.y, block, array(y1[at], y1[at + 1u], y1[at + 2u], y1[at + 3u]));
            }
        }
    }
}
