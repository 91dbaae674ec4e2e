// needs rows: Row
// needs splits: first_share, first_visible, share_of
// needs joined: round_quads
// gives override: HEAD_DIM, THREADS
// gives const: COLUMNS, LOWEST
// gives struct: Params
// gives var: params, shares, rows, out, sums, maxima, totals
// gives fn: main

// out[t, head] = sum_s exp(max_s - max) sum_s / sum_s exp(max_s - max) total_s over the shares s of a row's positions that
// attention.wgsl made: a share has its own maximum, its total of exp(score - maximum), and its sum of values so weighted.
// One workgroup a row, query head and COLUMNS vec4 of its dimensions; THREADS / COLUMNS lanes walk the shares of a vec4.

override HEAD_DIM: u32 = 256;
override THREADS: u32 = 64;
const COLUMNS: u32 = 8;
const LOWEST: f32 = -3.4e38;

struct Params {
    n_heads: u32,
    window: u32,   // the largest u32: all earlier positions
    q_stride: u32, // of out, a multiple of 4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> shares: array<vec4<f32>>; // [shares, n_heads, HEAD_DIM / 4 + 1]
@group(0) @binding(2) var<storage, read> rows: array<Row>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>; // [rows, q_stride / 4]

var<workgroup> sums: array<vec4<f32>, THREADS>;
var<workgroup> maxima: array<f32, THREADS>;
var<workgroup> totals: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let d4 = HEAD_DIM / 4u;
    let position = rows[group.y].position;
    let visible = position + 1u - first_visible(position, params.window);
    let share = share_of(visible, groups.y);
    let n_shares = (visible + share - 1u) / share;
    let chunks = (d4 + COLUMNS - 1u) / COLUMNS;
    let head = group.x / chunks;
    let column = group.x % chunks * COLUMNS + lane % COLUMNS;
    let stride = params.n_heads * (d4 + 1u);
    let at = first_share(group.y, groups.y) * stride + head * (d4 + 1u);
    // A lane takes four shares at a time, with one maximum for the four.
    var largest = LOWEST;
    var total = 0.0;
    var sum = vec4(0.0);
    let walkers = THREADS / COLUMNS;
    if column < d4 {
        for (var s = lane / COLUMNS; s < n_shares; s += 4u * walkers) {
            // Beyond the last share the last again, with no weight.
            let last = n_shares - 1u;
            let at0 = at + s * stride;
            let at1 = at + min(s + walkers, last) * stride;
            let at2 = at + min(s + 2u * walkers, last) * stride;
            let at3 = at + min(s + 3u * walkers, last) * stride;
            let s0 = shares[at0 + d4];
            let s1 = shares[at1 + d4];
            let s2 = shares[at2 + d4];
            let s3 = shares[at3 + d4];
            let v0 = shares[at0 + column];
            let v1 = shares[at1 + column];
            let v2 = shares[at2 + column];
            let v3 = shares[at3 + column];
            let four = vec4(s0.x, s1.x, s2.x, s3.x);
            let new_largest = max(largest, max(max(four.x, four.y), max(four.z, four.w)));
            let is_share = vec4(s, s + walkers, s + 2u * walkers, s + 3u * walkers) < vec4(n_shares);
            let w = select(vec4(0.0), exp(four - new_largest), is_share);
            let rescale = exp(largest - new_largest);
            total = total * rescale + dot(w, vec4(s0.y, s1.y, s2.y, s3.y));
            sum = sum * rescale + (w.x * v0 + w.y * v1 + w.z * v2 + w.w * v3);
            largest = new_largest;
        }
    }
    maxima[lane] = largest;
    totals[lane] = total;
    sums[lane] = sum;
    workgroupBarrier();
    var joined_quad = vec4(0.0);
    if lane < COLUMNS && column < d4 {
        // The maximum first: then the walkers' factors do not wait for each other.
        for (var i = lane; i < THREADS; i += COLUMNS) {
            largest = max(largest, maxima[i]);
        }
        total = 0.0;
        sum = vec4(0.0);
        for (var i = lane; i < THREADS; i += COLUMNS) {
            let factor = exp(maxima[i] - largest);
            total += factor * totals[i];
            sum += factor * sums[i];
        }
        joined_quad = sum / total;
        out[group.y * (params.q_stride / 4u) + head * d4 + column] = joined_quad;
    }
    round_quads(group.y, group.x, lane, joined_quad);
}
