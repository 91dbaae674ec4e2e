// y[t, n] = sum_k x[t, k] * w[n, k], many rows of x at a time: prefill.
// A workgroup makes 32 rows x 64 output features; each of its 16 x 16 lanes makes 2 x 4 of them. Per step of 32 input
// features both operands go through workgroup memory, so that a weight is decoded once for 32 rows.

const TILE_T: u32 = 32;
const TILE_N: u32 = 64;
const ROW: u32 = 9; // vec4 in a tile row: 32 values and one vec4 that keeps lanes on different banks

@group(0) @binding(6) var<storage, read> row_count: array<u32>; // [0]: rows of x
@group(0) @binding(7) var<storage, read_write> y: array<f32>; // [rows, y_stride]

var<workgroup> tile_x: array<vec4<f32>, 288>; // [TILE_T, ROW]
var<workgroup> tile_w: array<vec4<f32>, 576>; // [TILE_N, ROW]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let n_tokens = row_count[0];
    let n0 = group.x * TILE_N;
    let t0 = group.y * TILE_T;
    // What this lane fetches: 8 weights of row load_n, 4 values of row load_t.
    let load_n = lane / 4u;
    let load_t = lane / 8u;
    let lane_n = lane % 16u;
    let lane_t = lane / 16u;
    var sum: array<vec4<f32>, 2>; // [t: lane_t, lane_t + 16], over n: lane_n + 0, 16, 32, 48
    for (var word = 0u; word < params.in_words; word += 4u) {
        var w = array<vec4<f32>, 2>();
        if n0 + load_n < params.n_rows {
            w = weights8(n0 + load_n, word + lane % 4u);
        }
        tile_w[load_n * ROW + (lane % 4u) * 2u] = w[0];
        tile_w[load_n * ROW + (lane % 4u) * 2u + 1u] = w[1];
        var value = vec4<f32>();
        if t0 + load_t < n_tokens {
            value = x[(t0 + load_t) * (params.x_stride / 4u) + word * 2u + lane % 8u];
        }
        tile_x[load_t * ROW + lane % 8u] = value;
        workgroupBarrier();
        for (var k = 0u; k < 8u; k++) {
            let w0 = tile_w[lane_n * ROW + k];
            let w1 = tile_w[(lane_n + 16u) * ROW + k];
            let w2 = tile_w[(lane_n + 32u) * ROW + k];
            let w3 = tile_w[(lane_n + 48u) * ROW + k];
            let x0 = tile_x[lane_t * ROW + k];
            let x1 = tile_x[(lane_t + 16u) * ROW + k];
            sum[0] += vec4(dot(x0, w0), dot(x0, w1), dot(x0, w2), dot(x0, w3));
            sum[1] += vec4(dot(x1, w0), dot(x1, w1), dot(x1, w2), dot(x1, w3));
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 2u; i++) {
        let t = t0 + lane_t + 16u * i;
        for (var j = 0u; j < 4u; j++) {
            let n = n0 + lane_n + 16u * j;
            if t < n_tokens && n < params.n_rows {
                y[t * params.y_stride + params.y_offset + n] = capped(sum[i][j]);
            }
        }
    }
}
