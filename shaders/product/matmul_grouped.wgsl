// needs product: params
// needs tile: Tile
// needs tiles: main
// gives override: X_REPEAT
// gives var: tiles, y, pairs
// gives fn: tile_at, x_row, y_row

// y[p, n] = sum_k x[p / X_REPEAT, k] * w[ids[p], n, k] for many rows p, grouped by expert: prefill. moe_group.wgsl lists
// the rows of each expert and cuts the lists into tiles, so that an expert's weights are read once a tile;
// common/plain_tile.wgsl and its likes make them. Tiles of experts outside this part, and those without rows, are empty.

override X_REPEAT: u32 = 1; // rows of y that read one row of x

@group(0) @binding(6) var<storage, read> tiles: array<vec4<u32>>;   // expert, first in the list, rows, unused
@group(0) @binding(7) var<storage, read_write> y: array<f32>;       // [rows, y_stride]
@group(0) @binding(8) var<storage, read> pairs: array<u32>;         // rows of y, by expert

// With one return: FXC takes what a function returns in several places for uninitialized, and barriers behind a condition
// on it for not uniform.
fn tile_at(y: u32) -> Tile {
    let tile = tiles[y];
    let matrix = tile.x - params.first_matrix; // An expert before this part wraps around to a large number.
    let count = select(0u, tile.z, matrix < params.n_matrices);
    return Tile(matrix, tile.y, count);
}

fn x_row(tile: Tile, t: u32) -> u32 {
    return pairs[tile.first + t] / X_REPEAT;
}

fn y_row(tile: Tile, t: u32) -> u32 {
    return pairs[tile.first + t];
}
