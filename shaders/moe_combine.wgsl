// The end of a mixture-of-experts layer. With w the rows of norms, c the router's weights and d the experts' products:
// experts[t] = sum_s c[t, s] * d[t * top_k + s]                         (in slot order; SUMMED: it is there already)
// m = rms(mlp[t]) * w[post_1] + rms(experts[t]) * w[post_2]
// h[t] = (h[t] + rms(m) * w[post]) * layer_scalar ; y[t] = rms(h[t]) * w[next]
// One workgroup a row.

override SUMMED: bool = false;

struct Params {
    width: u32,
    stride: u32,
    top_k: u32,
    post_1: u32,
    post_2: u32,
    post: u32,
    next: u32,
    scalar: f32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mlp: array<f32>;           // [rows, stride]
@group(0) @binding(2) var<storage, read> products: array<f32>;      // [rows * top_k, stride]
@group(0) @binding(3) var<storage, read> weights: array<f32>;       // [rows, top_k]
@group(0) @binding(4) var<storage, read> norms: array<f32>;         // [weights, stride]
@group(0) @binding(5) var<storage, read_write> experts: array<f32>; // [rows, stride]
@group(0) @binding(6) var<storage, read_write> h: array<f32>;       // [rows, stride]
@group(0) @binding(7) var<storage, read_write> y: array<f32>;       // [rows, stride]

fn factor(lane: u32, squares: f32) -> f32 {
    return 1.0 / sqrt(workgroup_sum(lane, squares) / f32(params.width) + params.eps);
}

fn norm(weight: u32, i: u32) -> f32 {
    return norms[weight * params.stride + i];
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let t = group.y;
    let row = t * params.stride;
    var mlp_squares = 0.0;
    var expert_squares = 0.0;
    for (var i = lane; i < params.width; i += THREADS) {
        var sum = 0.0;
        if SUMMED {
            sum = experts[row + i];
        } else {
            for (var s = 0u; s < params.top_k; s++) {
                sum += weights[t * params.top_k + s] * products[(t * params.top_k + s) * params.stride + i];
            }
            experts[row + i] = sum;
        }
        expert_squares += sum * sum;
        mlp_squares += mlp[row + i] * mlp[row + i];
    }
    let mlp_factor = factor(lane, mlp_squares);
    let expert_factor = factor(lane, expert_squares);
    var squares = 0.0;
    for (var i = lane; i < params.width; i += THREADS) {
        let m = mlp[row + i] * mlp_factor * norm(params.post_1, i)
            + experts[row + i] * expert_factor * norm(params.post_2, i);
        y[row + i] = m;
        squares += m * m;
    }
    let m_factor = factor(lane, squares);
    squares = 0.0;
    for (var i = lane; i < params.width; i += THREADS) {
        let value = (h[row + i] + y[row + i] * m_factor * norm(params.post, i)) * params.scalar;
        h[row + i] = value;
        squares += value * value;
    }
    let next_factor = factor(lane, squares);
    for (var i = lane; i < params.width; i += THREADS) {
        y[row + i] = h[row + i] * next_factor * norm(params.next, i);
    }
}
