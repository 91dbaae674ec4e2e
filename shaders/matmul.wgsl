// y[t, n] = sum_k x[t, k] * w[n, k], many rows of x at a time: prefill. A workgroup makes a tile of common/tile.wgsl.

@group(0) @binding(6) var<storage, read> row_count: array<u32>;     // [0]: rows of x
@group(0) @binding(7) var<storage, read_write> y: array<f32>;       // [rows, y_stride]

@compute @workgroup_size(LANES_T * LANES_N)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.y * LANES_T * ROWS;
    let count = row_count[0];
    if first < count {
        multiply(Tile(0u, first, count - first), group.x * LANES_N * 8u, lane);
    }
}

fn x_row(tile: Tile, t: u32) -> u32 {
    return tile.first + t;
}

fn y_row(tile: Tile, t: u32) -> u32 {
    return tile.first + t;
}
