// y[p, n] = sum_k x[p / X_REPEAT, k] * w[ids[p], n, k] for many rows p, grouped by expert: prefill. moe_group.wgsl lists
// the rows of each expert and cuts the lists into tiles, so that an expert's weights are read once a tile.
// Tiles of experts outside this part, and tiles without rows, leave at once.

override X_REPEAT: u32 = 1; // rows of y that read one row of x

@group(0) @binding(6) var<storage, read> tiles: array<vec4<u32>>;   // expert, first in the list, rows, unused
@group(0) @binding(7) var<storage, read_write> y: array<f32>;       // [rows, y_stride]
@group(0) @binding(8) var<storage, read> pairs: array<u32>;         // rows of y, by expert

@compute @workgroup_size(LANES_T * LANES_N)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = tiles[group.y];
    let matrix = tile.x - params.first_matrix; // An expert before this part wraps around to a large number.
    if tile.z > 0u && matrix < params.n_matrices {
        multiply(Tile(matrix, tile.y, tile.z), group.x * LANES_N * 8u, lane);
    }
}

fn x_row(tile: Tile, t: u32) -> u32 {
    return pairs[tile.first + t] / X_REPEAT;
}

fn y_row(tile: Tile, t: u32) -> u32 {
    return pairs[tile.first + t];
}
