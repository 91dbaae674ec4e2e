// h[t] = (h[t] + rms(x[t]) * norms[post]) * scalar: a block's result joins the residual stream, and then
// y_i[t] = rms(h[t]) * norms[pre + i] for the OUTPUTS blocks that read it next. One workgroup a row.

override OUTPUTS: u32 = 1; // 0 to 3

struct Params {
    width: u32,
    stride: u32, // of h, x and all y
    post: u32,   // row of norms
    pre: u32,    // row of norms of y0; y1 and y2 take the next rows
    scalar: f32, // layer_scalar where the block is a layer's last, else 1
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [rows, stride]
@group(0) @binding(2) var<storage, read> norms: array<f32>;    // [weights, stride]
@group(0) @binding(3) var<storage, read_write> h: array<f32>;  // [rows, stride]
@group(0) @binding(4) var<storage, read_write> y0: array<f32>; // [rows, stride]
@group(0) @binding(5) var<storage, read_write> y1: array<f32>; // [rows, stride]
@group(0) @binding(6) var<storage, read_write> y2: array<f32>; // [rows, stride]

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y * params.stride;
    let width = f32(params.width);
    var squares = 0.0;
    for (var i = lane; i < params.width; i += THREADS) {
        squares += x[row + i] * x[row + i];
    }
    let post_factor = 1.0 / sqrt(workgroup_sum(lane, squares) / width + params.eps);
    squares = 0.0;
    for (var i = lane; i < params.width; i += THREADS) {
        let normed = x[row + i] * post_factor * norms[params.post * params.stride + i];
        let value = (h[row + i] + normed) * params.scalar;
        h[row + i] = value;
        squares += value * value;
    }
    let pre_factor = 1.0 / sqrt(workgroup_sum(lane, squares) / width + params.eps);
    for (var i = lane; i < params.width; i += THREADS) {
        let value = h[row + i] * pre_factor; // Lane's own writes: no barrier needed.
        let weight = params.pre * params.stride + i;
        if OUTPUTS > 0u {
            y0[row + i] = value * norms[weight];
        }
        if OUTPUTS > 1u {
            y1[row + i] = value * norms[weight + params.stride];
        }
        if OUTPUTS > 2u {
            y2[row + i] = value * norms[weight + 2u * params.stride];
        }
    }
}
